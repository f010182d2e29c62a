/* gil_cpu.h - on which processors members look, wait and run. Part of gil.c. */
#ifndef TL_GIL_CPU_H
#define TL_GIL_CPU_H

#include "gil.h"

/* By m, which begins to wait, or has the lock: notes where it is. */
void tl_cpu_waits(tl_member *m);
void tl_cpu_runs(tl_gil *g, tl_member *m);

/* Under the mutex: the lock goes to 'next', which sleeps while the holder is
 * about to wait for the lock ('follows'), or not. */
void tl_cpu_passes(tl_gil *g, tl_member *next, bool follows);

/* Whether 'next', if it sleeps, is to go on where the holder is: then it is not
 * woken before the lock comes to it. */
bool tl_cpu_follows(const tl_gil *g, const tl_member *next);

/* Looks for a moment, until 'end' (ns), whether m's word is set: but not when
 * the holder was last seen, or waited, on this very processor. */
bool tl_cpu_spin(const tl_gil *g, const tl_member *m, int64_t end);

#endif
