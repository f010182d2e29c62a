/* news.c - what several threads wait for, each for something of its own, while
 * one of them at a time, whose turn it is, brings it about for all.
 *
 * The end of a turn is told by a __close in C: that of a thread that is killed
 * is done in any case. */
#include "news.h"

#define NEWS "multiprocessing.PoolNews"

typedef struct News {
  tl_waitq waiters;    /* GIL */
  lua_Integer edition; /* GIL: counts what was told */
  bool taken;          /* GIL: a thread has its turn */
} News;

static TL_GIL News *check_news(lua_State *L) {
  return bind_checkself(L, NEWS);
}

int news_new(lua_State *L) {
  News *n = lua_newuserdatauv(L, sizeof *n, 0);
  *n = (News){.waiters.what = "a pool's results"};
  luaL_setmetatable(L, NEWS);
  return 1;
}

static TL_GIL void tell(News *n) {
  n->edition++;
  tl_wake(&n->waiters, INT_MAX);
}

void news_announce(lua_State *L, int idx) {
  tell(luaL_checkudata(L, idx, NEWS));
}

/* tell(): lets all waiters look. */
static TL_GIL int news_tell(lua_State *L) {
  tell(check_news(L));
  return 0;
}

/* edition(): what is to be read before one looks, and given to wait. */
static TL_GIL int news_edition(lua_State *L) {
  lua_pushinteger(L, check_news(L)->edition);
  return 1;
}

static TL_GIL int news_waited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

/* wait(edition, [timeout]): waits until something has been told since; false if
 * the time passed first. */
static TL_GIL int news_wait(lua_State *L) {
  News *n = check_news(L);
  lua_Integer edition = luaL_checkinteger(L, 2);
  int64_t deadline = bind_deadline(L, 3);
  if (n->edition == edition)
    return tl_wait(L, &n->waiters, deadline, 0, news_waited);
  lua_pushboolean(L, true);
  return 1;
}

/* turn(): the object, to be closed, if it is the caller's turn now, which ends
 * then; else nil. */
static TL_GIL int news_turn(lua_State *L) {
  News *n = check_news(L);
  lua_settop(L, 1);
  if (n->taken)
    lua_pushnil(L);
  else
    n->taken = true;
  tl_defer_raise(bind_thread());
  return 1;
}

static TL_GIL int news_close(lua_State *L) {
  News *n = check_news(L);
  n->taken = false;
  tell(n);
  return 0;
}

static const luaL_Reg methods[] = {{"edition", news_edition},
                                   {"tell", news_tell},
                                   {"turn", news_turn},
                                   {"wait", news_wait},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", news_close}, {NULL, NULL}};

void news_init(lua_State *L) {
  bind_newclass(L, NEWS, methods, metamethods);
}
