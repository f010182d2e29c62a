/* gil_cpython.h - policy "cpython" of gil.c. */
#ifndef TL_GIL_CPYTHON_H
#define TL_GIL_CPYTHON_H

#include "gil.h"

/* Waits for the lock and takes it; false if the policy is not this one any
 * more. */
bool tl_cpython_acquire(tl_gil *g, tl_member *m);

/* Frees it; if it was asked for, waits until another member has taken it. */
void tl_cpython_release(tl_gil *g, tl_member *m);

#endif
