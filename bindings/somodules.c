/* somodules.c - modules in files of their own: each needs a library that
 * neither the program nor libtidelock shall be linked to. Their sources are in
 * modules/; a build makes those whose library it finds.
 *
 * The files lie where the build has put them, beside the program and the
 * library, or in ${libdir}/tidelock: all told from where this very code was
 * loaded from, so that the tree can be moved. */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "bind.h"
#include "modules.h"
#include "place.h"

static const struct somodule {
  const char *name, *library, *package;
} somodules[] = {
    {"_hmac", "OpenSSL's libcrypto", "libssl-dev"},
    {"bigint", "GMP", "libgmp-dev"},
    {NULL, NULL, NULL},
};

/* From the folder of the program or of the library. */
static const char *const folders[] = {
    "tidelock-modules",     /* in a build tree */
    "tidelock",             /* beside the installed library */
    TL_MODULES_FROM_BINDIR, /* seen from the installed program */
};

static const struct somodule *find(const char *name) {
  for (const struct somodule *m = somodules; m->name; m++)
    if (strcmp(m->name, name) == 0) return m;
  return NULL;
}

bool tl_somodule_exists(const char *name) {
  return find(name) != NULL;
}

bool tl_somodule_find(lua_State *L, const char *name) {
  const struct somodule *m = find(name);
  lua_pushfstring(L,
                  "module '%s' needs %s, which this build of tidelock was made "
                  "without; with Debian's package %s installed, configure and "
                  "build it again",
                  name, m->library, m->package);
  int answer = lua_gettop(L);
  char here[PATH_MAX];
  if (os_file_of(somodules, here, sizeof here) != 0) return false;
  *strrchr(here, '/') = '\0';
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    const char *path =
        lua_pushfstring(L, "%s/%s/%s.so", here, folders[i], name);
    bool there = access(path, R_OK) == 0;
    if (!there)
      lua_pushfstring(L, "%s\n\tno file '%s'", lua_tostring(L, answer), path);
    lua_replace(L, answer);
    lua_settop(L, answer);
    if (there) return true;
  }
  return false;
}

/* The symbols that the file wants are the program's, or this library's and
 * Lua's. */
void tl_somodule_open(lua_State *L, const char *name, int loadlib) {
  loadlib = lua_absindex(L, loadlib);
  char here[PATH_MAX];
  if (os_file_of(somodules, here, sizeof here) == 0) os_publish_library(here);
  if (!tl_somodule_find(L, name)) lua_error(L);
  int path = lua_gettop(L);
  lua_pushvalue(L, loadlib);
  lua_pushvalue(L, path);
  lua_pushfstring(L, "luaopen_tidelock_%s", name);
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2))
    luaL_error(L, "error loading module 'tidelock.%s' from file '%s':\n\t%s",
               name, lua_tostring(L, path), lua_tostring(L, -1));
  lua_pop(L, 1);
  lua_replace(L, path);
  lua_settop(L, path);
}
