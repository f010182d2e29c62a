/* results.h - the results of a pool's tasks, as its jobs keep them. */
#ifndef TL_RESULTS_H
#define TL_RESULTS_H

#include "bind.h"

/* A task's number: its job's, and its own in the job. */
#define RESULT_INDEX_BITS 24

/* Of a message; behind it are the pickled results, or what else there is to
 * say. */
typedef struct ResultHead {
  uint64_t id;
  uint64_t
      kind; /* what Lua makes of it; of a result that came well RESULT_DONE */
} ResultHead;

#define RESULT_DONE 1

/* The part on the top is there: its job is below it. Both are popped. 'jobs'
 * and 'ready' are indices, see result_complete. */
void result_add(lua_State *L, int jobs, int ready, uint64_t id) TL_GIL;

/* Functions of "tidelock._pool"; see results.c. */
int result_complete(lua_State *L) TL_GIL;
int result_decode(lua_State *L) TL_GIL;
int result_join(lua_State *L) TL_GIL;

#endif
