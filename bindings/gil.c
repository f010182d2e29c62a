/* gil.c - the module gil: settings and statistics of the interpreter's lock.
 * Documented in types/gil.lua. */
#include <math.h>

#include "bind.h"
#include "modules.h"

#define INTERVAL_LEAST 1000 /* ns: below it threads would do nothing else */

static TL_GIL tl_gil *gil_of(lua_State *L) {
  return &tl_interp_of(L)->gil;
}

static TL_GIL int gil_switch_interval(lua_State *L) {
  tl_gil *g = gil_of(L);
  int64_t ns = 0;
  if (!lua_isnone(L, 1)) {
    lua_Number s = luaL_checknumber(L, 1);
    luaL_argcheck(L, s > 0, 1, "interval must be a number of seconds > 0");
    lua_Number wanted = rint(s * 1e9);
    ns = wanted < (lua_Number)TL_INTERVAL_MOST ? (int64_t)wanted
                                               : TL_INTERVAL_MOST;
    if (ns < INTERVAL_LEAST) ns = INTERVAL_LEAST;
  }
  int64_t before = atomic_load(&g->interval);
  if (ns) tl_gil_set_interval(g, ns);
  lua_pushnumber(L, (lua_Number)before / 1e9);
  return 1;
}

static TL_GIL int gil_policy(lua_State *L) {
  static const char *const names[] = {
      [TL_FAIR] = "fair", [TL_CPYTHON] = "cpython", NULL};
  tl_gil *g = gil_of(L);
  int wanted = lua_isnone(L, 1) ? -1 : luaL_checkoption(L, 1, NULL, names);
  int before = atomic_load(&g->policy);
  if (wanted >= 0 && wanted != before)
    tl_gil_set_policy(g, (tl_gil_policy)wanted);
  lua_pushstring(L, names[before]);
  return 1;
}

static TL_GIL int gil_enabled(lua_State *L) {
  lua_pushboolean(L, true);
  return 1;
}

static TL_GIL void set_count(lua_State *L, const char *name, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static TL_GIL void set_seconds(lua_State *L, const char *name, int64_t ns) {
  lua_pushnumber(L, (lua_Number)ns / 1e9);
  lua_setfield(L, -2, name);
}

static TL_GIL void push_stats(lua_State *L, const tl_gil_stats *s) {
  lua_createtable(L, 0, 10);
  set_count(L, "switches", s->switches);
  set_count(L, "forced_switches", s->forced_switches);
  set_count(L, "voluntary_releases", s->voluntary_releases);
  set_count(L, "acquires", s->acquires);
  set_count(L, "contended_acquires", s->contended_acquires);
  set_count(L, "boosts", s->boosts);
  set_seconds(L, "wait_time", s->wait_time);
  set_seconds(L, "held_time", s->held_time);
}

static TL_GIL int gil_stats(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  tl_gil_stats all = in->past;
  lua_createtable(L, in->thread_count, 0);
  int n = 0;
  /* No thread can end between: nothing here gives up the GIL. */
  for (tl_thread *t = in->threads; t; t = t->next) {
    tl_gil_stats own = {0};
    tl_gil_add_stats(&in->gil, &t->member, &own);
    tl_gil_add_stats(&in->gil, &t->member, &all);
    push_stats(L, &own);
    lua_pushstring(L, t->name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, t->ident);
    lua_setfield(L, -2, "ident");
    lua_rawseti(L, -2, ++n);
  }
  push_stats(L, &all);
  lua_insert(L, -2);
  lua_setfield(L, -2, "threads");
  return 1;
}

static const luaL_Reg functions[] = {
    {"switch_interval", gil_switch_interval},
    {"policy", gil_policy},
    {"stats", gil_stats},
    {"enabled", gil_enabled},
    {NULL, NULL},
};

int luaopen_tl_gil(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
