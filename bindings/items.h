/* items.h - how a queue keeps its items: in order of arrival, last first, or
 * least first. Knows nothing of waiting.
 *
 * The queue is a userdata at index 1 with ITEMS_VALUES user values. Only a
 * call that allocates a collectable object may run a finalizer, and a
 * finalizer may use this very queue: such calls are made by items_reserve
 * alone, so what comes after it, up to the next call of Lua code, is atomic. */
#ifndef TL_ITEMS_H
#define TL_ITEMS_H

#include "bind.h"

typedef enum items_order { ITEMS_FIFO, ITEMS_LIFO, ITEMS_LEAST } items_order;

enum { ITEMS_VALUES = 3 };
enum { ITEMS_KEY = 2, ITEMS_LT = 3 }; /* user values: a key, a comparison */
enum { ITEMS_BLOCK = 63 };            /* items in a block of a FIFO */

typedef struct Items {
  items_order order;    /* const */
  lua_Integer count;    /* GIL */
  lua_Integer room;     /* GIL: most that the stack or heap has held */
  lua_Integer arrivals; /* GIL: number of the last item put in a heap */
  lua_Integer changes;  /* GIL: how often the heap has changed */
  int head, tail;       /* GIL: items read of the first block, written to
                           the last one */
} Items;

static inline Items items_none(items_order order) {
  return (Items){.order = order, .tail = ITEMS_BLOCK};
}

/* Pushes what the item at idx is ordered by; may run Lua code. ITEMS_LEAST
 * only. */
void items_pushkey(lua_State *L, int idx) TL_GIL;

/* Makes room for one more item, so that adding it to a FIFO cannot fail. */
void items_extend(lua_State *L, Items *it) TL_GIL;

static inline TL_GIL void items_reserve(lua_State *L, Items *it) {
  if (tl_unlikely(it->tail == ITEMS_BLOCK)) items_extend(L, it);
}

/* Adds the item at idx; its key is at idx + 1. False, with nothing done: Lua
 * code that compared keys let others change the heap, so look again. A FIFO
 * leaves a value on the stack. */
bool items_add(lua_State *L, Items *it, int idx) TL_GIL;

/* Pushes the next item, taken out; there is one. False, with nothing done, as
 * above. A FIFO leaves a value below it. */
bool items_take(lua_State *L, Items *it) TL_GIL;

/* Drops all items. */
void items_clear(lua_State *L, Items *it) TL_GIL;

#endif
