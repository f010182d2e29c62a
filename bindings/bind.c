/* bind.c - what the bindings share: classes, arguments, waiting.
 *
 * Every method, metamethod and attribute is a closure over its class's
 * metatable, so that the check of 'self' is a comparison and not a look-up in
 * the registry. */
#include "bind.h"

#include <math.h>

/* __index of a class with attributes. Upvalues: metatable, methods, getters.
 * A getter runs in this frame: the metatable is upvalue 1 here as well. */
static TL_GIL int attr_get(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  lua_pushvalue(L, 2);
  lua_CFunction get = NULL;
  if (lua_rawget(L, lua_upvalueindex(3)) != LUA_TNIL)
    get = lua_tocfunction(L, -1);
  if (get == NULL) return 1; /* nil */
  lua_settop(L, 1);
  return get(L);
}

/* __newindex. Upvalues: metatable, setters. */
static TL_GIL int attr_set(lua_State *L) {
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  lua_CFunction set = NULL;
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
    set = lua_tocfunction(L, -1);
  if (set == NULL) {
    const char *key = luaL_tolstring(L, 2, NULL);
    lua_getfield(L, lua_upvalueindex(1), "__name");
    return luaL_error(L, "no attribute '%s' to set in a %s", key,
                      lua_tostring(L, -1));
  }
  lua_settop(L, 3);
  lua_remove(L, 2); /* self, value */
  return set(L);
}

/* Pushes a table of the functions, closures over the metatable at 'mt'. */
static TL_GIL void push_functions(lua_State *L, int mt, const luaL_Reg *list) {
  lua_newtable(L);
  if (list == NULL) return;
  lua_pushvalue(L, mt);
  luaL_setfuncs(L, list, 1);
}

void bind_newclass_attrs(lua_State *L, const char *name,
                         const luaL_Reg *methods, const luaL_Reg *metamethods,
                         const luaL_Reg *getters, const luaL_Reg *setters) {
  luaL_newmetatable(L, name);
  int mt = lua_gettop(L);
  if (getters == NULL && setters == NULL) {
    push_functions(L, mt, methods);
    lua_setfield(L, mt, "__index");
  } else {
    lua_pushvalue(L, mt);
    push_functions(L, mt, methods);
    push_functions(L, mt, getters);
    lua_pushcclosure(L, attr_get, 3);
    lua_setfield(L, mt, "__index");
    lua_pushvalue(L, mt);
    push_functions(L, mt, setters);
    lua_pushcclosure(L, attr_set, 2);
    lua_setfield(L, mt, "__newindex");
  }
  if (metamethods != NULL) {
    lua_pushvalue(L, mt);
    luaL_setfuncs(L, metamethods, 1);
  }
  lua_pop(L, 1);
}

void bind_newclass(lua_State *L, const char *name, const luaL_Reg *methods,
                   const luaL_Reg *metamethods) {
  bind_newclass_attrs(L, name, methods, metamethods, NULL, NULL);
}

void *bind_checkself(lua_State *L, const char *name) {
  void *self = lua_touserdata(L, 1);
  if (tl_likely(self != NULL && lua_getmetatable(L, 1))) {
    bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    if (tl_likely(same)) return self;
  }
  if (name == NULL) {
    lua_getfield(L, lua_upvalueindex(1), "__name");
    name = lua_tostring(L, -1);
  }
  luaL_typeerror(L, 1, name);
  return NULL;
}

/* 's' seconds from now; s > 0. */
static int64_t seconds_from_now(lua_Number s) {
  lua_Number ns = ceil(s * 1e9);
  return ns < 9.2e18 ? os_deadline((int64_t)ns) : TL_FOREVER;
}

int64_t bind_deadline(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return TL_FOREVER;
  lua_Number s = luaL_checknumber(L, arg);
  luaL_argcheck(L, s >= 0, arg, "timeout must be a number of seconds >= 0");
  return s > 0 ? seconds_from_now(s) : 0;
}

int64_t bind_deadline_or(lua_State *L, int arg, lua_Number usual) {
  if (!lua_isnoneornil(L, arg) || usual < 0) return bind_deadline(L, arg);
  return usual > 0 ? seconds_from_now(usual) : 0;
}

/* A boolean argument, true when absent. */
static TL_GIL bool check_flag(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return true;
  luaL_checktype(L, arg, LUA_TBOOLEAN);
  return lua_toboolean(L, arg);
}

int64_t bind_block(lua_State *L, int arg) {
  bool block = check_flag(L, arg);
  int64_t deadline = bind_deadline(L, arg + 1);
  return block ? deadline : 0;
}

int64_t bind_blocking(lua_State *L, int arg) {
  bool blocking = check_flag(L, arg);
  if (lua_isnoneornil(L, arg + 1)) return blocking ? TL_FOREVER : 0;
  lua_Number s = luaL_checknumber(L, arg + 1);
  if (s == -1) return blocking ? TL_FOREVER : 0;
  luaL_argcheck(L, blocking, arg + 1,
                "no timeout can be given for a non-blocking call");
  luaL_argcheck(L, s >= 0, arg + 1,
                "timeout must be a number of seconds >= 0, or -1");
  return s > 0 ? seconds_from_now(s) : 0;
}

bool bind_woken(lua_State *L) {
  tl_outcome outcome = (tl_outcome)lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (outcome == TL_INTERRUPTED) tl_check(L);
  return outcome == TL_GRANTED;
}

int bind_guarded(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  bind_woken(L);
  lua_settop(L, 1);
  tl_defer_raise(bind_thread());
  return 1;
}

static TL_GIL int within(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return lua_gettop(L) - 1;
}

int bind_within(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  bind_woken(L);
  lua_toclose(L, 1); /* nothing above raises once the wait was granted */
  lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, ctx, within);
  return within(L, LUA_OK, ctx);
}

/* Pushes the time left until the deadline, in seconds; nil: for ever. */
static TL_GIL void push_timeout(lua_State *L, int64_t deadline) {
  int64_t left = deadline - os_now();
  if (deadline == TL_FOREVER)
    lua_pushnil(L);
  else
    lua_pushnumber(L, left > 0 ? (lua_Number)left / 1e9 : 0);
}

/* Goes on in wait_for after a call: of the predicate, with ctx telling
 * whether it was the last one, or of wait. Each wait is a call of its own, so
 * that a thread's C stack does not grow with the wake-ups. On the stack are the
 * condition, pred, the deadline, wait. */
enum { TESTED, TESTED_LAST, WAITED };

static TL_GIL int waiting_for(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  for (;;) {
    if (ctx != WAITED) {
      if (lua_toboolean(L, -1) || ctx == TESTED_LAST) return 1;
      lua_settop(L, 4);
      lua_pushvalue(L, 4);
      lua_pushvalue(L, 1);
      push_timeout(L, lua_tointeger(L, 3));
      ctx = WAITED;
      lua_callk(L, 2, 1, ctx, waiting_for);
    } else {
      ctx = lua_toboolean(L, -1) ? TESTED : TESTED_LAST;
      lua_settop(L, 4);
      lua_pushvalue(L, 2);
      lua_callk(L, 0, 1, ctx, waiting_for);
    }
  }
}

int bind_wait_for(lua_State *L, lua_CFunction wait) {
  bind_checkcallable(L, 2);
  int64_t deadline = bind_deadline(L, 3);
  lua_settop(L, 2);
  lua_pushinteger(L, deadline);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, wait, 1);
  lua_KContext ctx = deadline == 0 ? TESTED_LAST : TESTED;
  lua_pushvalue(L, 2);
  lua_callk(L, 0, 1, ctx, waiting_for);
  return waiting_for(L, LUA_OK, ctx);
}

/* The place of the string at 'key' in 'names', -1 if it is not there. */
static TL_GIL int find_name(lua_State *L, int key, const char *const *names) {
  if (lua_type(L, key) != LUA_TSTRING) return -1;
  for (int i = 0; names[i] != NULL; i++) {
    lua_pushstring(L, names[i]);
    bool same = lua_rawequal(L, -1, key);
    lua_pop(L, 1);
    if (same) return i;
  }
  return -1;
}

bool bind_options(lua_State *L, int arg, const char *const *names) {
  if (lua_type(L, arg) != LUA_TTABLE || bind_iscallable(L, arg) ||
      lua_gettop(L) != arg)
    return false;
  int n = 0;
  while (names[n] != NULL)
    n++;
  luaL_checkstack(L, n + 4, "too many options");
  for (int i = 0; i < n; i++)
    lua_pushnil(L);
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    int i = find_name(L, arg + n + 1, names);
    if (i < 0) {
      const char *key = luaL_tolstring(L, arg + n + 1, NULL);
      luaL_argerror(L, arg, lua_pushfstring(L, "unknown option '%s'", key));
    }
    lua_replace(L, arg + 1 + i);
  }
  lua_remove(L, arg);
  return true;
}

void bind_noargs(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_typeerror(L, 1, "no value");
}

lua_Integer bind_count(lua_State *L, int arg, lua_Integer usual,
                       lua_Integer least) {
  lua_Integer n = luaL_optinteger(L, arg, usual);
  if (tl_unlikely(n < least))
    luaL_argerror(L, arg, lua_pushfstring(L, "must be at least %I", least));
  return n;
}

lua_Integer bind_parties(lua_State *L, lua_Integer most) {
  static const char *const options[] = {"parties", "action", "timeout", NULL};
  bind_options(L, 1, options);
  lua_settop(L, 3);
  luaL_checkinteger(L, 1);
  lua_Integer parties = bind_count(L, 1, 1, 1);
  luaL_argcheck(L, parties <= most, 1, "too many parties");
  if (!lua_isnil(L, 2)) bind_checkcallable(L, 2);
  bind_deadline(L, 3);
  return parties;
}

/* How many arguments the table at idx says it holds, -1 if it says nonsense. */
static TL_GIL lua_Integer count_args(lua_State *L, int idx) {
  int type = lua_getfield(L, idx, "n"), is_integer = false;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (type == LUA_TNIL)
    n = luaL_len(L, idx);
  else if (type != LUA_TNUMBER || !is_integer)
    return -1;
  return n <= LUAI_MAXSTACK ? n : -1;
}

bool bind_copyargs(lua_State *L, int idx) {
  lua_Integer n = lua_isnil(L, idx) ? 0 : count_args(L, idx);
  if (n < 0) return false;
  lua_createtable(L, (int)n, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, idx, i);
    lua_rawseti(L, -2, i);
  }
  lua_pushinteger(L, n);
  lua_setfield(L, -2, "n");
  return true;
}

bool bind_iscallable(lua_State *L, int idx) {
  if (lua_isfunction(L, idx)) return true;
  if (luaL_getmetafield(L, idx, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

void bind_checkcallable(lua_State *L, int arg) {
  if (!bind_iscallable(L, arg)) luaL_typeerror(L, arg, "function");
}

int bind_openparts(lua_State *L, const lua_CFunction *parts, size_t n) {
  lua_newtable(L);
  for (size_t i = 0; i < n; i++) {
    lua_pushcfunction(L, parts[i]);
    lua_call(L, 0, 1);
    for (lua_pushnil(L); lua_next(L, -2);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_settable(L, -5);
    }
    lua_pop(L, 1);
  }
  return 1;
}
