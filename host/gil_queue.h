/* gil_queue.h - who waits for the lock. Part of gil.c; under its mutex. */
#ifndef TL_GIL_QUEUE_H
#define TL_GIL_QUEUE_H

#include "gil.h"

/* Puts m behind those of its class, or before them. 'now': ns. */
void tl_gil_enqueue(tl_gil *g, tl_member *m, tl_gil_class class, int64_t now);
void tl_gil_enqueue_first(tl_gil *g, tl_member *m, tl_gil_class class,
                          int64_t now);

/* The member whose turn it is, or NULL; dequeue takes it out of the queue. */
tl_member *tl_gil_next(const tl_gil *g, int64_t now);
tl_member *tl_gil_dequeue(tl_gil *g, int64_t now);

/* Somebody is queued. */
bool tl_gil_wanted(const tl_gil *g);

#endif
