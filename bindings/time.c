/* time.c - the module time: clocks and sleep. Documented in types/time.lua. */
#include "bind.h"
#include "modules.h"

static TL_GIL int push_seconds(lua_State *L, int64_t ns) {
  lua_pushnumber(L, (lua_Number)ns / 1e9);
  return 1;
}

static TL_GIL int push_ns(lua_State *L, int64_t ns) {
  lua_pushinteger(L, ns);
  return 1;
}

static TL_GIL int time_time(lua_State *L) {
  return push_seconds(L, os_wall());
}

static TL_GIL int time_time_ns(lua_State *L) {
  return push_ns(L, os_wall());
}

static TL_GIL int time_monotonic(lua_State *L) {
  return push_seconds(L, os_now());
}

static TL_GIL int time_monotonic_ns(lua_State *L) {
  return push_ns(L, os_now());
}

static TL_GIL int time_thread_time(lua_State *L) {
  return push_seconds(L, os_thread_time());
}

static TL_GIL int time_thread_time_ns(lua_State *L) {
  return push_ns(L, os_thread_time());
}

static TL_GIL int time_process_time(lua_State *L) {
  return push_seconds(L, os_process_time());
}

static TL_GIL int time_process_time_ns(lua_State *L) {
  return push_ns(L, os_process_time());
}

static TL_GIL int time_slept(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  bind_woken(L);
  return 0;
}

static TL_GIL int time_sleep(lua_State *L) {
  luaL_checknumber(L, 1);
  int64_t deadline = bind_deadline(L, 1);
  if (deadline != 0) return tl_sleep(L, deadline, 0, time_slept);
  if (!tl_in_finalizer(L)) {
    tl_gil_yield(&tl_interp_of(L)->gil, &bind_thread()->member);
    tl_check(L);
  }
  return 0;
}

/* The counter with the best resolution is the monotonic clock. */
static const luaL_Reg functions[] = {
    {"sleep", time_sleep},
    {"time", time_time},
    {"time_ns", time_time_ns},
    {"monotonic", time_monotonic},
    {"monotonic_ns", time_monotonic_ns},
    {"perf_counter", time_monotonic},
    {"perf_counter_ns", time_monotonic_ns},
    {"thread_time", time_thread_time},
    {"thread_time_ns", time_thread_time_ns},
    {"process_time", time_process_time},
    {"process_time_ns", time_process_time_ns},
    {NULL, NULL},
};

int luaopen_tl_time(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
