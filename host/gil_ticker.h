/* gil_ticker.h - the thread that asks for the lock when an interval is over.
 * Part of gil.c; called under the GIL's mutex unless it says otherwise. */
#ifndef TL_GIL_TICKER_H
#define TL_GIL_TICKER_H

#include "gil.h"

/* Starts it, if there is none; ends it and waits. Without the mutex. */
int tl_ticker_start(tl_gil *g);
void tl_ticker_stop(tl_gil *g);

/* Somebody is queued. */
void tl_ticker_wake(tl_gil *g);
static inline void tl_ticker_rouse(tl_gil *g) {
  if (tl_unlikely(g->ticker.resting)) tl_ticker_wake(g);
}

/* The interval has changed. */
void tl_ticker_hurry(tl_gil *g);

#endif
