/* file.c - files: the list, the owner's lock, companions, fork. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime.h"
#include "weak.h"

const char tl_file_mark;
static const char files_key;      /* registry: tl_files */
static const char companions_key; /* registry: stream -> tl_file, weak keys */

/* --- memory -------------------------------------------------------------- */

bool tl_bytes_reserve(lua_State *L, tl_bytes *b, size_t n) {
  if (n <= b->size - b->n) return true;
  if (n > SIZE_MAX / 4 - b->n) return false;
  size_t size = b->size < 512 ? 512 : 2 * b->size;
  if (size < b->n + n) size = b->n + n;
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  char *p = alloc(ud, b->p, b->size, size);
  if (!p) return false;
  b->p = p;
  b->size = size;
  return true;
}

bool tl_bytes_add(lua_State *L, tl_bytes *b, const char *s, size_t n) {
  if (n == 0) return true;
  if (!tl_bytes_reserve(L, b, n)) return false;
  memcpy(b->p + b->n, s, n);
  b->n += n;
  return true;
}

void tl_bytes_free(lua_State *L, tl_bytes *b) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  if (b->p) alloc(ud, b->p, b->size, 0);
  *b = (tl_bytes){0};
}

/* --- files --------------------------------------------------------------- */

/* A device that can seek, as /dev/null, keeps an offset like a regular file;
 * what cannot has none that stdio would know of. */
static tl_file_kind kind_of(FILE *f) {
  struct stat st;
  int fd = fileno(f);
  if (fd < 0 || fstat(fd, &st) != 0) return TL_FILE_DEVICE;
  if (S_ISFIFO(st.st_mode)) return TL_FILE_PIPE;
  if (S_ISSOCK(st.st_mode)) return TL_FILE_STREAM;
  if (!S_ISCHR(st.st_mode)) return TL_FILE_PLAIN;
  return lseek(fd, 0, SEEK_CUR) < 0 ? TL_FILE_STREAM : TL_FILE_DEVICE;
}

static TL_GIL tl_file *new_file(lua_State *L) {
  tl_file *file = lua_newuserdatauv(L, sizeof *file, 0);
  *file = (tl_file){.mark = &tl_file_mark, .waiters = {.what = "file"}};
  return file;
}

tl_file *tl_file_new(lua_State *L) {
  tl_file *file = new_file(L);
  luaL_setmetatable(L, LUA_FILEHANDLE);
  return file;
}

static TL_GIL void enlist(tl_files *all, tl_file *file) {
  file->next = all->first;
  file->link = &all->first;
  if (file->next) file->next->link = &file->next;
  all->first = file;
}

void tl_file_opened(lua_State *L, tl_file *file, FILE *f,
                    lua_CFunction closef) {
  file->stream.f = f;
  file->stream.closef = closef;
  file->kind = kind_of(f);
  enlist(tl_files_get(L), file);
}

void tl_file_closed(lua_State *L, tl_file *file) {
  if (file->link) {
    *file->link = file->next;
    if (file->next) file->next->link = file->link;
    file->link = NULL;
  }
  tl_bytes_free(L, &file->in);
  tl_bytes_free(L, &file->out);
  tl_bytes_free(L, &file->late);
}

int tl_file_noclose(lua_State *L) {
  luaL_Stream *p = lua_touserdata(L, 1);
  p->closef = tl_file_noclose;
  luaL_pushfail(L);
  lua_pushliteral(L, "cannot close standard file");
  return 2;
}

/* --- companions ---------------------------------------------------------- */

static TL_GIL int companion_gc(lua_State *L) {
  tl_file_closed(L, lua_touserdata(L, 1));
  return 0;
}

/* Pushes the companion of the stream at idx, nil if it has none. */
static TL_GIL void push_companion(lua_State *L, int idx) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &companions_key);
  lua_pushvalue(L, idx);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

static TL_GIL void make_companion(lua_State *L, int idx) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &companions_key);
  new_file(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &companions_key);
  lua_getmetatable(L, -1);
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
  lua_pushvalue(L, idx);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
}

/* The table of companions; its metatable is theirs as well, and gets __gc when
 * the table cannot become an object to be finalized any more. */
static TL_GIL void open_companions(lua_State *L) {
  tl_weak_push(L, &companions_key);
  lua_getmetatable(L, -1);
  lua_pushcfunction(L, companion_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 2);
}

tl_file *tl_file_of(lua_State *L, int idx) {
  tl_file *file = lua_touserdata(L, idx);
  if (tl_likely(lua_rawlen(L, idx) == sizeof *file &&
                file->mark == &tl_file_mark))
    return file;
  luaL_Stream *stream = &file->stream;
  idx = lua_absindex(L, idx);
  push_companion(L, idx);
  if (lua_isnil(L, -1)) make_companion(L, idx), lua_replace(L, -2);
  file = lua_touserdata(L, -1);
  lua_pop(L, 1);
  file->stream = *stream;
  if (stream->closef) file->kind = kind_of(stream->f);
  return file;
}

/* --- the list ------------------------------------------------------------ */

static const tl_fork_hooks fork_hooks;

static TL_GIL tl_files *open_files(lua_State *L) {
  tl_child_open(L);
  open_companions(L);
  tl_files *all = lua_newuserdatauv(L, sizeof *all, 1);
  *all = (tl_files){.has_stdin = fcntl(STDIN_FILENO, F_GETFD) >= 0};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &files_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &files_key);
  all->out = tl_file_new(L);
  tl_file_opened(L, all->out, stdout, tl_file_noclose);
  lua_setiuservalue(L, -2, 1);
  tl_runtime_atfork(&fork_hooks);
  return all;
}

tl_files *tl_files_push(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &files_key);
  tl_files *all = lua_touserdata(L, -1);
  if (tl_likely(all != NULL)) return all;
  lua_pop(L, 1);
  return open_files(L);
}

tl_files *tl_files_get(lua_State *L) {
  tl_files *all = tl_files_push(L);
  lua_pop(L, 1);
  return all;
}

void tl_files_flush(lua_State *L, bool wait) {
  for (tl_file *f = tl_files_get(L)->first; f; f = f->next)
    if (!tl_file_busy(f)) tl_file_flush_now(L, f, wait);
}

/* --- the lock ------------------------------------------------------------ */

static TL_GIL bool take(tl_waiter *w) {
  tl_file *file = w->object;
  if (file->waiters.owner) return false;
  file->waiters.owner = w->thread->ident;
  return true;
}

int tl_file_wait(lua_State *L, tl_file *file, lua_KContext ctx,
                 lua_KFunction k) {
  static const tl_wait_kind kind = {.ready = take};
  if (file->lost)
    return luaL_error(L, "file was in use when this process was forked");
  return tl_wait_when(L, &file->waiters, TL_FOREVER, &kind, file, ctx, k);
}

/* Lets the first waiter try. */
static TL_GIL void offer(tl_file *file) {
  tl_waiter *w = tl_waitq_first(&file->waiters);
  if (w && !file->waiters.owner) tl_nudge(w);
}

/* A waiter that was interrupted may have been the one to whom the file was
 * offered: another gets the offer, or it would wait for ever. */
bool tl_file_entered(lua_State *L, tl_file *file) {
  if (lua_tointeger(L, -1) != TL_GRANTED) offer(file);
  return bind_woken(L);
}

void tl_file_leave(tl_file *file) {
  if (tl_unlikely(file->late.n > 0)) tl_file_settle(file);
  file->waiters.owner = 0;
  if (tl_likely(file->waiters.first == NULL)) return;
  offer(file);
  tl_wake(&file->waiters, 0); /* those that only look */
}

/* --- fork ---------------------------------------------------------------- */

static TL_GIL void before_fork(lua_State *L) {
  tl_files_flush(L, false);
}

/* What could not be flushed is still the parent's to write. A thread that
 * waited for a pipe had left its FILE consistent; one that was inside stdio has
 * left it in a state that nobody here can know. */
static TL_GIL void after_fork(lua_State *L, int child) {
  if (!child) return;
  for (tl_file *f = tl_files_get(L)->first; f; f = f->next) {
    f->lost = f->waiters.owner != 0 && f->kind == TL_FILE_PLAIN;
    f->waiters.owner = 0;
    f->waiters.first = f->waiters.last = NULL;
    f->out.n = f->late.n = 0;
    if (__fpending(f->stream.f) > 0) __fpurge(f->stream.f);
  }
}

/* Whatever was read ahead is the parent's, too. */
static TL_GIL void empty_input(lua_State *L, tl_file *file) {
  tl_bytes_free(L, &file->in);
  file->in_at = 0;
  if (!file->lost) __fpurge(stdin);
  int fd = open("/dev/null", O_RDONLY);
  if (fd < 0) return;
  if (fd != fileno(stdin)) {
    dup2(fd, fileno(stdin));
    os_close(fd);
  }
  file->kind = TL_FILE_DEVICE;
}

/* Where the program was started without, the number is something else's. */
void tl_files_nostdin(lua_State *L) {
  const tl_files *all = tl_files_get(L);
  if (!all->has_stdin && fcntl(fileno(stdin), F_GETFD) >= 0) return;
  for (tl_file *f = all->first; f; f = f->next)
    if (f->stream.f == stdin && f->stream.closef) empty_input(L, f);
}

static const tl_fork_hooks fork_hooks = {before_fork, after_fork};
