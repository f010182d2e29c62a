/* warn.c - warnings, which Lua hands out in pieces. The state of each
 * interpreter is a userdata in its registry. */
#include "warn.h"

#include <stdio.h>
#include <string.h>

typedef struct Warn {
  bool on;
  bool inside; /* pieces of one message are still to come */
} Warn;

static const char warn_key;

static void control(Warn *w, const char *message) {
  if (strcmp(message, "@off") == 0)
    w->on = false;
  else if (strcmp(message, "@on") == 0)
    w->on = true;
}

static void warn(void *ud, const char *message, int to_be_continued) {
  Warn *w = ud;
  if (!w->inside && !to_be_continued && message[0] == '@') {
    control(w, message);
    return;
  }
  if (w->on) {
    fprintf(stderr, "%s%s%s", w->inside ? "" : "Lua warning: ", message,
            to_be_continued ? "" : "\n");
    fflush(stderr);
  }
  w->inside = to_be_continued;
}

void tl_warn_open(lua_State *L) {
  Warn *w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = (Warn){.on = false};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &warn_key);
  lua_setwarnf(L, warn, w);
}
