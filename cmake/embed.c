/* embed.c - the build's tool that makes an array of C of the modules written in
 * Lua: embed ROOT OUT MODULE...
 *
 * They are compiled here: to load what is compiled takes a seventh of the time,
 * and a process that is started anew loads half a dozen of them. Line numbers
 * are kept. See bindings/modules.h. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whatever lua_dump adds: a table of pieces, for lua_dump wants the function on
 * the top of the stack. */
static int add_piece(lua_State *L, const void *data, size_t n, void *ud) {
  (void)ud;
  lua_pushlstring(L, data, n);
  lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
  return 0;
}

/* (function): its code. */
static int dump(lua_State *L) {
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_dump(L, add_piece, NULL, 0);
  lua_pop(L, 1);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  return 1;
}

/* Pushes the compiled module whose path, "a/b", is on the top. */
static void compile(lua_State *L, const char *root) {
  const char *path = lua_tostring(L, -1);
  const char *file = lua_pushfstring(L, "%s/%s.lua", root, path);
  FILE *f = fopen(file, "rb");
  if (!f) {
    luaL_error(L, "%s: %s", file, strerror(errno));
    return;
  }
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t n = 1; n > 0; luaL_addsize(&b, n))
    n = fread(luaL_prepbuffer(&b), 1, LUAL_BUFFERSIZE, f);
  int failed = ferror(f);
  fclose(f);
  if (failed) luaL_error(L, "%s: cannot be read", file);
  luaL_pushresult(&b);
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  const char *name = lua_pushfstring(L, "@tidelock/%s.lua", path);
  if (luaL_loadbufferx(L, text, size, name, "t") != LUA_OK) lua_error(L);
  lua_pushcfunction(L, dump);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

static void write_array(FILE *out, int number, const char *data, size_t size) {
  fprintf(out, "static const unsigned char module_%d[] = {", number);
  for (size_t i = 0; i < size; i++)
    fprintf(out, "%s%d,", i % 20 ? "" : "\n", (unsigned char)data[i]);
  fputs("\n};\n", out);
}

/* (root, out, module...) */
static int embed(lua_State *L) {
  int n = lua_gettop(L);
  const char *root = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
  luaL_checkstack(L, 3 * n, NULL);
  FILE *out = fopen(name, "w");
  if (!out) return luaL_error(L, "%s: %s", name, strerror(errno));
  fputs("/* Made by cmake/embed.c. */\n#include \"modules.h\"\n\n", out);
  for (int i = 3; i <= n; i++) {
    luaL_gsub(L, lua_tostring(L, i), ".", "/");
    compile(L, root);
    size_t size;
    const char *data = lua_tolstring(L, -1, &size);
    write_array(out, i, data, size);
    fprintf(out, "enum { size_%d = %d };\n", i, (int)size);
    lua_settop(L, n);
  }
  fputs("const struct tl_lua_module tl_lua_modules[] = {\n", out);
  for (int i = 3; i <= n; i++)
    fprintf(out, "    {\"%s\", module_%d, size_%d},\n", lua_tostring(L, i), i,
            i);
  fputs("    {NULL, NULL, 0}};\n", out);
  if (fclose(out) != 0) return luaL_error(L, "%s: %s", name, strerror(errno));
  return 0;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (!L || !lua_checkstack(L, argc)) return EXIT_FAILURE;
  lua_pushcfunction(L, embed);
  for (int i = 1; i < argc; i++)
    lua_pushstring(L, argv[i]);
  int failed = lua_pcall(L, argc - 1, 0, 0);
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
