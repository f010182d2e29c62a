/* parcel.c - see parcel.h. */
#include "parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "synchronize.h"

#define BORROWED "multiprocessing.Borrowed"

/* --- The sender ----------------------------------------------------------- */

void parcel_lend(lua_State *L, int fd, parcel_keeper k, parcel_ref *ref) {
  struct stat st;
  if (fstat(fd, &st) < 0) tl_error_os(L, errno, "fstat");
  *ref = (parcel_ref){
      .device = st.st_dev, .inode = st.st_ino, .pid = (int32_t)getpid()};
  luaL_checkstack(L, 6, NULL);
  lua_pushlstring(L, (const char *)ref, offsetof(parcel_ref, pid));
  lua_pushvalue(L, -1);
  if (lua_rawget(L, k.held) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    descriptor_copy(L, fd);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, k.held);
  }
  ref->fd = descriptor_get(L, -1);
  lua_pushboolean(L, true);
  lua_rawset(L, k.keep);
  lua_pop(L, 1);
}

void parcel_make(lua_State *L, const tl_pickled *pickled, parcel_keeper k,
                 parcel *p) {
  *p = (parcel){.count = (uint64_t)pickled->fd_count, .pickled = pickled};
  if (p->count == 0) {
    lua_pushnil(L);
    return;
  }
  parcel_ref *refs = lua_newuserdatauv(L, p->count * sizeof *refs, 0);
  for (uint64_t i = 0; i < p->count; i++)
    parcel_lend(L, p->pickled->fds[i], k, &refs[i]);
  p->refs = refs;
}

/* --- The receiver --------------------------------------------------------- */

typedef struct Borrowed {
  int count;
  int fds[];
} Borrowed;

static void give_back(Borrowed *b) {
  while (b->count > 0)
    os_close(b->fds[--b->count]);
}

static TL_GIL int borrowed_gc(lua_State *L) {
  give_back(luaL_checkudata(L, 1, BORROWED));
  return 0;
}

static int open_again(const parcel_ref *ref) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", ref->pid, ref->fd);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (fstat(fd, &st) == 0 && st.st_dev == ref->device &&
      st.st_ino == ref->inode)
    return fd;
  os_close(fd);
  return -ENOENT;
}

int parcel_borrow(lua_State *L, const parcel_ref *ref) {
  int fd = open_again(ref);
  if (sync_made_room(L, fd)) fd = open_again(ref);
  if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
    return tl_error_os(L, -fd, "cannot open shared memory");
  if (fd < 0)
    return tl_error(L, "UnpicklingError",
                    "the shared memory of a handle is gone (%s)",
                    strerror(-fd));
  return fd;
}

void parcel_open(lua_State *L, const char *data, size_t size) {
  const unsigned flags = TL_PICKLE_FAMILY | TL_PICKLE_HANDLES;
  uint64_t count = UINT64_MAX;
  if (size >= sizeof count) memcpy(&count, data, sizeof count);
  if (count > (size - sizeof count) / sizeof(parcel_ref) || count > INT16_MAX)
    luaL_error(L, "a damaged message");
  data += sizeof count;
  size -= sizeof count;
  if (count == 0) {
    tl_pickle_load(L, data, size, NULL, 0, flags);
    return;
  }
  Borrowed *b = lua_newuserdatauv(L, sizeof *b + count * sizeof *b->fds, 0);
  b->count = 0;
  luaL_setmetatable(L, BORROWED);
  for (uint64_t i = 0; i < count; i++) {
    parcel_ref ref;
    memcpy(&ref, data + i * sizeof ref, sizeof ref);
    b->fds[i] = parcel_borrow(L, &ref);
    b->count++;
  }
  size_t skip = count * sizeof(parcel_ref);
  tl_pickle_load(L, data + skip, size - skip, b->fds, b->count, flags);
  give_back(b);
  lua_remove(L, -2);
}

void parcel_init(lua_State *L) {
  static const luaL_Reg none[] = {{NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", borrowed_gc}, {NULL, NULL}};
  bind_newclass(L, BORROWED, none, metamethods);
}
