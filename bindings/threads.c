/* threads.c - threading's functions about threads: which there are, and what
 * is said of one that an error has ended.
 * Documented in types/threading.lua. */
#include <stdio.h>

#include "dump.h"
#include "modules.h"
#include "thread_handle.h"

static TL_GIL int current_thread(lua_State *L) {
  thread_push(L, tl_self());
  return 1;
}

static TL_GIL int main_thread(lua_State *L) {
  thread_push(L, tl_interp_of(L)->main);
  return 1;
}

static TL_GIL int get_ident(lua_State *L) {
  lua_pushinteger(L, tl_self()->ident);
  return 1;
}

static TL_GIL int get_native_id(lua_State *L) {
  lua_pushinteger(L, os_thread_id());
  return 1;
}

static TL_GIL int active_count(lua_State *L) {
  lua_pushinteger(L, tl_interp_of(L)->thread_count);
  return 1;
}

/* Allocating may let another thread end only if a finalizer runs Lua for long
 * enough to be preempted; finalizers are not. */
static TL_GIL int enumerate(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  lua_createtable(L, in->thread_count, 0);
  lua_Integer n = 0;
  for (tl_thread *t = in->threads; t; t = t->next) {
    thread_push(L, t);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static TL_GIL int stack_size(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  size_t before = in->stack_size;
  if (!lua_isnoneornil(L, 1)) {
    size_t size = thread_check_stack_size(L, 1, 1);
    in->stack_size = size ? size : TL_STACK_USUAL;
  }
  lua_pushinteger(L, (lua_Integer)before);
  return 1;
}

static TL_GIL int dump_string(lua_State *L) {
  tl_dump_push(L);
  return 1;
}

/* --- uncaught errors -------------------------------------------------------
 */

static const char module_key; /* registry: the module's table */

/* Tells the C side which table's excepthook to call. */
static TL_GIL int set_module(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 0;
}

/* Calls threading.excepthook with {thread, value, traceback}. */
static TL_GIL int call_excepthook(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key);
  lua_getfield(L, -1, "excepthook");
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "thread");
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "value");
  lua_getiuservalue(L, 1, THREAD_TRACE);
  lua_setfield(L, -2, "traceback");
  lua_call(L, 1, 0);
  return 0;
}

static TL_GIL int to_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Pushes the text of a value, or its type if its __tostring fails. */
static TL_GIL const char *push_text(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_pushcfunction(L, to_text);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, idx));
    lua_remove(L, -2);
  }
  return lua_tostring(L, -1);
}

void thread_report(lua_State *L, int idx) {
  lua_pushcfunction(L, call_excepthook);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  fprintf(stderr, "Exception in threading.excepthook: %s\n", push_text(L, -1));
  fprintf(stderr, "Original exception, in thread %s: %s\n", tl_self()->name,
          push_text(L, idx));
}

int luaopen_tl_threads(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"active_count", active_count}, {"current_thread", current_thread},
      {"dump_string", dump_string},   {"enumerate", enumerate},
      {"get_ident", get_ident},       {"get_native_id", get_native_id},
      {"main_thread", main_thread},   {"set_module", set_module},
      {"stack_size", stack_size},     {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
