/* queue.h - the object of queue.c, for the files that make up its methods. */
#ifndef TL_QUEUE_H
#define TL_QUEUE_H

#include "items.h"
#include "park.h"

typedef struct Queue {
  const void *magic; /* const: &queue_magic, in every queue */
  Items items;
  lua_Integer maxsize;    /* const; 0 no limit, or SIMPLE */
  lua_Integer promised;   /* GIL: places given to putters that still compare */
  lua_Integer unfinished; /* GIL: items put and not yet told done */
  bool shut;              /* GIL */
  const char *class;      /* const */
  tl_waitq getters;       /* GIL; a waiter's stack holds this userdata */
  tl_waitq putters;       /* GIL; the item is at index 2 of their stacks */
  tl_waitq joiners;       /* GIL */
} Queue;

extern const char queue_magic;

/* Argument 1 as a queue of any class. Put and get are called so often that
 * this does without the three calls of a comparison of metatables. */
static inline TL_GIL Queue *queue_check(lua_State *L) {
  Queue *q = lua_touserdata(L, 1);
  if (tl_unlikely(q == NULL || lua_rawlen(L, 1) < sizeof *q ||
                  q->magic != &queue_magic))
    luaL_typeerror(L, 1, "queue");
  return q;
}

/* Returns nil and the error of that class. */
int queue_refuse(lua_State *L, const char *class) TL_GIL;

/* Takes an item, pushed on the top, and lets a putter in; false if there is
 * none. */
bool queue_take(lua_State *L, Queue *q) TL_GIL;

/* The method get_many. */
int queue_get_many(lua_State *L) TL_GIL;

#endif
