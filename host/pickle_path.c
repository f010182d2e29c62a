/* pickle_path.c - says where in a value that is which cannot be pickled. */
#include <ctype.h>
#include <stdio.h>

#include "errors.h"
#include "pickler.h"

#define PARTS_SHOWN ((size_t)10) /* at each end of a long path */
#define KEY_SHOWN 60             /* bytes of a key */

/* Pushes the object and the key of frame i; see open_frame. */
static TL_GIL void push_frame(lua_State *L, const tl_pickler *p, size_t i) {
  size_t on_stack = i < TL_FRAMES_ON_STACK ? i : TL_FRAMES_ON_STACK;
  int slot = p->base + TL_SLOTS + 2 * (int)on_stack;
  if (i < TL_FRAMES_ON_STACK || i + 1 == p->depth) {
    lua_pushvalue(L, slot);
    lua_pushvalue(L, slot + 1);
  } else {
    lua_Integer at = 2 * ((lua_Integer)i + 1 - TL_FRAMES_ON_STACK);
    lua_rawgeti(L, p->base + TL_SLOT_SPILL, at - 1);
    lua_rawgeti(L, p->base + TL_SLOT_SPILL, at);
  }
}

static bool is_identifier(const char *s, size_t n) {
  if (n == 0 || n > KEY_SHOWN || isdigit((unsigned char)s[0])) return false;
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)s[i]) && s[i] != '_') return false;
  return true;
}

/* Pushes the key at idx as it follows a table: ".log", "[1.5]". */
static TL_GIL void push_key(lua_State *L, int idx) {
  size_t n;
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tolstring(L, idx, &n);
    if (is_identifier(s, n))
      lua_pushfstring(L, ".%s", s);
    else if (n <= KEY_SHOWN)
      lua_pushfstring(L, "[\"%s\"]", s);
    else
      lua_pushfstring(L, "[\"%s...\"]", lua_pushlstring(L, s, KEY_SHOWN));
  } else if (lua_type(L, idx) == LUA_TNUMBER ||
             lua_type(L, idx) == LUA_TBOOLEAN) {
    lua_pushvalue(L, idx);
    lua_pushfstring(L, "[%s]", luaL_tolstring(L, -1, NULL));
  } else {
    lua_pushfstring(L, "[%s]", luaL_typename(L, idx));
  }
}

/* Pushes what frame i adds to the path: which of its parts is being written. */
static TL_GIL void push_part(lua_State *L, const tl_pickler *p, size_t i) {
  const tl_frame *f = &p->frames[i];
  int top = lua_gettop(L);
  push_frame(L, p, i);
  switch (f->kind) {
  case TL_FRAME_FUNCTION: {
    const char *name = lua_getupvalue(L, -2, (int)f->done);
    lua_pushfstring(L, " upvalue '%s'", name && *name ? name : "?");
    break;
  }
  case TL_FRAME_REDUCED:
    lua_pushfstring(L, " reduced[%I]", f->done);
    break;
  case TL_FRAME_PORTABLE:
    lua_pushliteral(L, " packed");
    break;
  default:
    if (f->phase <= TL_PHASE_COUNT)
      lua_pushliteral(L, " parent");
    else if (f->phase <= TL_PHASE_ARRAY)
      lua_pushfstring(L, "[%I]", f->done);
    else if (f->phase == TL_PHASE_PAIRS)
      push_key(L, lua_gettop(L));
    else
      lua_pushstring(L, f->phase == TL_PHASE_VALUE ? " key" : " class");
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

void tl_pickler_pushpath(lua_State *L, tl_pickler *p) {
  luaL_checkstack(L, (int)(2 * PARTS_SHOWN) + 20, NULL);
  int top = lua_gettop(L);
  lua_pushstring(L, p->root);
  for (size_t i = 0; i < p->depth; i++) {
    if (p->depth > 2 * PARTS_SHOWN && i == PARTS_SHOWN) {
      lua_pushliteral(L, " ... ");
      i = p->depth - PARTS_SHOWN;
    }
    push_part(L, p, i);
  }
  lua_concat(L, lua_gettop(L) - top);
}

/* Pushes what the value at idx is: "a userdata (FILE*)". */
static TL_GIL void push_kind(lua_State *L, int idx) {
  int type = lua_type(L, idx);
  bool has = lua_getmetatable(L, idx) != 0;
  if (type == LUA_TFUNCTION) {
    lua_pushstring(L, lua_iscfunction(L, idx) ? "a C function" : "a function");
  } else if (type == LUA_TLIGHTUSERDATA) {
    lua_pushliteral(L, "a light userdata");
  } else if (has) {
    lua_pushliteral(L, "__name");
    if (lua_rawget(L, -2) == LUA_TSTRING)
      lua_pushfstring(L, "a %s (%s)", lua_typename(L, type),
                      lua_tostring(L, -1));
    else
      lua_pushfstring(L, "a %s with a metatable", lua_typename(L, type));
  } else {
    lua_pushfstring(L, "a %s", lua_typename(L, type));
  }
}

int tl_pickler_refuse(lua_State *L, tl_pickler *p, const char *why) {
  luaL_checkstack(L, 20, NULL);
  push_kind(L, lua_gettop(L));
  const char *kind = lua_tostring(L, -1);
  tl_pickler_pushpath(L, p);
  const char *path = lua_tostring(L, -1);
  return tl_error(L, "PicklingError", "cannot pickle %s at %s%s%s", kind, path,
                  why ? ": " : "", why ? why : "");
}
