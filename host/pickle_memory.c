/* pickle_memory.c - the memory of a pickler. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "pickler.h"

static const char meta_key; /* registry: the metatable of picklers */

static void use_first(tl_pickler *p) {
  p->buf = p->buf_first;
  p->room = sizeof p->buf_first;
  p->met = p->met_first;
  p->met_room = sizeof p->met_first / sizeof *p->met_first;
  p->met_shift = 64 - 6;
  p->met_limit = p->met_room / 4 * 3;
  p->frames = p->frames_first;
  p->frame_room = sizeof p->frames_first / sizeof *p->frames_first;
}

tl_pickler *tl_pickler_push(lua_State *L, unsigned flags, const char *root) {
  tl_pickler *p = lua_newuserdatauv(L, sizeof *p, 1);
  memset(p, 0, offsetof(tl_pickler, buf_first));
  use_first(p);
  p->flags = flags;
  p->root = root ? root : "value";
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  p->globals = lua_topointer(L, -1);
  lua_pop(L, 1);
  tl_pickler_reset(p);
  return p;
}

static void close_fds(tl_pickler *p) {
  while (p->result.fd_count > 0)
    close(p->fds[--p->result.fd_count]);
}

void tl_pickler_reset(tl_pickler *p) {
  close_fds(p);
  memset(p->met, 0, p->met_room * sizeof *p->met);
  p->size = p->met_count = p->depth = p->deepest = 0;
  p->objects = p->shared = 0;
  p->knows_modules = p->in_user_code = false;
}

static TL_GIL void *reallocate(lua_State *L, void *block, size_t from,
                               size_t to) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  return alloc(ud, block, block ? from : 0, to);
}

void tl_pickler_free_buffers(lua_State *L, tl_pickler *p) {
  if (p->buf != p->buf_first) reallocate(L, p->buf, p->room, 0);
  if (p->met != p->met_first)
    reallocate(L, p->met, p->met_room * sizeof *p->met, 0);
  if (p->frames != p->frames_first)
    reallocate(L, p->frames, p->frame_room * sizeof *p->frames, 0);
  use_first(p);
}

/* One block has both arrays. */
static size_t fds_size(size_t room) {
  return room * (sizeof(tl_file) + sizeof(int));
}

static TL_GIL void free_fds(lua_State *L, tl_pickler *p) {
  if (p->files) reallocate(L, p->files, fds_size(p->fd_room), 0);
  p->files = NULL;
  p->fds = NULL;
  p->fd_room = 0;
}

void tl_pickler_free(lua_State *L, tl_pickler *p) {
  close_fds(p);
  tl_pickler_free_buffers(L, p);
  free_fds(L, p);
}

static TL_GIL int pickler_gc(lua_State *L) {
  tl_pickler_free(L, lua_touserdata(L, 1));
  return 0;
}

void tl_pickler_pushmeta(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, pickler_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, pickler_gc);
  lua_setfield(L, -2, "__close");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}

void tl_pickler_own(lua_State *L, tl_pickler *p) {
  if (p->owns) return;
  luaL_checkstack(L, 2, NULL);
  lua_pushvalue(L, p->base + TL_SLOT_META);
  lua_setmetatable(L, p->base);
  p->owns = true;
}

static TL_GIL _Noreturn void no_memory(lua_State *L) {
  luaL_error(L, "not enough memory");
  abort(); /* that has raised */
}

bool tl_pickler_try_grow(lua_State *L, tl_pickler *p, size_t more) {
  if (more > SIZE_MAX / 4 - p->size) return false;
  size_t room = p->room * 2;
  while (room < p->size + more)
    room *= 2;
  bool first = p->buf == p->buf_first;
  char *buf = reallocate(L, first ? NULL : p->buf, p->room, room);
  if (!buf) return false;
  if (first) memcpy(buf, p->buf, p->size);
  p->buf = buf;
  p->room = room;
  return true;
}

void tl_pickler_grow(lua_State *L, tl_pickler *p, size_t more) {
  tl_pickler_own(L, p);
  if (!tl_pickler_try_grow(L, p, more)) no_memory(L);
}

/* Fourfold: twice is slower by a third where there are many strings, for each
 * of which the places are misses of the cache. */
void tl_pickler_grow_met(lua_State *L, tl_pickler *p) {
  tl_pickler_own(L, p);
  size_t old_room = p->met_room, room = 4 * old_room;
  tl_met *met = reallocate(L, NULL, 0, room * sizeof *met), *old = p->met;
  if (!met) no_memory(L);
  memset(met, 0, room * sizeof *met);
  p->met = met;
  p->met_room = room;
  p->met_shift -= 2;
  p->met_limit = room / 4 * 3;
  for (size_t i = 0; i < old_room; i++)
    if (old[i].ptr) *tl_met_find(L, p, old[i].ptr) = old[i];
  if (old != p->met_first) reallocate(L, old, old_room * sizeof *old, 0);
}

tl_frame *tl_pickler_frame(lua_State *L, tl_pickler *p) {
  if (tl_unlikely(p->depth == p->frame_room)) {
    tl_pickler_own(L, p);
    bool first = p->frames == p->frames_first;
    size_t room = p->frame_room * 2;
    tl_frame *frames =
        reallocate(L, first ? NULL : p->frames, p->frame_room * sizeof *frames,
                   room * sizeof *frames);
    if (!frames) no_memory(L);
    if (first) memcpy(frames, p->frames, sizeof p->frames_first);
    p->frames = frames;
    p->frame_room = room;
  }
  return &p->frames[p->depth++];
}

static TL_GIL void grow_fds(lua_State *L, tl_pickler *p) {
  size_t n = p->fd_room, room = n ? 2 * n : 4;
  tl_file *files = reallocate(L, NULL, 0, fds_size(room));
  if (!files) no_memory(L);
  int *fds = (int *)(void *)(files + room);
  if (n > 0) {
    memcpy(files, p->files, n * sizeof *files);
    memcpy(fds, p->fds, n * sizeof *fds);
  }
  free_fds(L, p);
  p->files = files;
  p->fds = fds;
  p->fd_room = room;
}

static TL_GIL void add_fd(lua_State *L, tl_pickler *p, int fd, tl_file file) {
  tl_pickler_own(L, p);
  if ((size_t)p->result.fd_count == p->fd_room) grow_fds(L, p);
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) tl_error_os(L, errno, "pickle");
  p->files[p->result.fd_count] = file;
  p->fds[p->result.fd_count++] = copy;
}

void tl_pickler_addfd(lua_State *L, tl_pickler *p, int fd) {
  add_fd(L, p, fd, (tl_file){.inode = 0});
}

int tl_pickler_addmemory(lua_State *L, tl_pickler *p, int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) tl_error_os(L, errno, "pickle");
  for (int i = p->result.fd_count - 1; i >= 0; i--)
    if (p->files[i].inode == st.st_ino && p->files[i].device == st.st_dev)
      return i;
  add_fd(L, p, fd, (tl_file){.device = st.st_dev, .inode = st.st_ino});
  return p->result.fd_count - 1;
}
