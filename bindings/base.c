/* base.c - print. */
#include <string.h>

#include "file.h"
#include "modules.h"

/* What print writes is put together first: tostring may call Lua, and the file
 * is written in one piece. A short line is put together on the C stack. */
#define SHORT 512

/* The arguments, strings by now, from the second on after a tab. */
static TL_GIL size_t join(lua_State *L, int n, char *out) {
  size_t at = 0;
  for (int i = 1; i <= n; i++) {
    size_t len;
    const char *s = lua_tolstring(L, i, &len);
    if (out) {
      if (i > 1) out[at] = '\t';
      memcpy(out + at + (i > 1), s, len);
    }
    at += len + (i > 1);
  }
  if (out) out[at] = '\n';
  return at + 1;
}

static TL_GIL void print_line(lua_State *L, tl_file *file, const char *s,
                              size_t n, bool late) {
  if (late) {
    tl_file_write_late(L, file, s, n);
    return;
  }
  tl_file_write(L, file, s, n, true);
  tl_file_leave(file);
}

static TL_GIL tl_files *get_files(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* The line is the string on the top. */
static TL_GIL int print_entered(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  tl_file *file = get_files(L)->out;
  if (!tl_file_entered(L, file)) return tl_file_wait(L, file, 0, print_entered);
  size_t n;
  const char *s = lua_tolstring(L, -1, &n);
  print_line(L, file, s, n, false);
  return 0;
}

static TL_GIL int print_busy(lua_State *L, tl_file *file, const char *s,
                             size_t n) {
  if (!file->lost && tl_in_finalizer(L)) {
    print_line(L, file, s, n, true);
    return 0;
  }
  lua_pushlstring(L, s, n);
  return tl_file_wait(L, file, 0, print_entered);
}

static TL_GIL int base_print(lua_State *L) {
  tl_file *file = get_files(L)->out;
  char line[SHORT], *s = line;
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    if (lua_type(L, i) == LUA_TSTRING) continue;
    luaL_tolstring(L, i, NULL);
    lua_replace(L, i);
  }
  size_t size = join(L, n, NULL);
  if (size > sizeof line) s = lua_newuserdatauv(L, size, 0);
  join(L, n, s);
  if (tl_unlikely(tl_file_busy(file))) return print_busy(L, file, s, size);
  tl_file_enter(file);
  print_line(L, file, s, size, false);
  return 0;
}

TL_GIL int luaopen_tl_base(lua_State *L) {
  lua_pushglobaltable(L);
  tl_files_push(L);
  lua_pushcclosure(L, base_print, 1);
  lua_setfield(L, -2, "print");
  return 1;
}
