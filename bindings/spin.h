/* spin.h - waiting busily for a moment, before one sleeps until another
 * process does something. */
#ifndef TL_SPIN_H
#define TL_SPIN_H

#include "bind.h"

/* How well that has paid lately. Zeroed memory is a valid one. */
typedef struct Spinner {
  int luck; /* GIL; negative: so many waits are left out */
} Spinner;

/* Waits up to 100 us, without the GIL, until ready(object) or the deadline. Not
 * at all where there is but one processor, while other threads wait for the
 * GIL, and, but now and then, after it was in vain. It is not reported as
 * blocked meanwhile: it may have to wait for the GIL before it sleeps. */
void spin_until(Spinner *s, int64_t deadline, bool (*ready)(const void *),
                const void *object) TL_GIL;

#endif
