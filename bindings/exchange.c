/* exchange.c - of "tidelock._subprocess": feeds a child and drains it at once,
 * which is what Popen's communicate waits in.
 *
 * Exchange(stdin, stdout, stderr, input) takes the files of pipes, or nil each,
 * and a string or nil. What is read goes into the files' own buffers, where
 * other reads find it, and what was sent is counted: so it can be interrupted
 * or run out of time at any moment, and goes on later where it was.
 *
 * While it waits the calling thread is inside the files (file.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio_ext.h>
#include <unistd.h>

#include "file.h"
#include "subprocess.h"

#define EXCHANGE "subprocess.Exchange"
#define PIECE ((size_t)64 * 1024) /* bytes of a write: what a pipe holds */
#define LAST_ROUNDS 20            /* after the deadline: to a pipe's end */

typedef struct Exchange {
  size_t sent;   /* GIL: bytes of the input */
  bool broken;   /* GIL: nobody reads the input any more */
  bool ended[3]; /* GIL: the end of stdout, stderr has been read */
} Exchange;      /* user values: the three files, and of those whose bytes were
                    taken these; the input */

/* One call of run. */
typedef struct Run {
  lua_State *L;
  Exchange *x;
  tl_file *file[3]; /* NULL: there is none, or it is closed */
  const char *input;
  size_t size;
  int64_t deadline;
} Run;

typedef enum Outcome { DONE, WRITTEN, TIMED_OUT } Outcome; /* or -errno */

static TL_GIL Exchange *check_exchange(lua_State *L) {
  return bind_checkself(L, EXCHANGE);
}

/* The open files of the exchange at argument 1, which keeps them. */
static TL_GIL void find_files(lua_State *L, tl_file *file[3]) {
  for (int i = 0; i < 3; i++) {
    file[i] = NULL;
    if (lua_getiuservalue(L, 1, i + 1) == LUA_TUSERDATA)
      file[i] = tl_file_of(L, -1);
    if (file[i] && file[i]->stream.closef == NULL) file[i] = NULL;
    lua_pop(L, 1);
  }
}

/* --- Inside the files: nothing raises ------------------------------------- */

/* Our ends of the pipes; the child's are other descriptions. */
static void set_blocking(const Run *r, bool blocking) {
  for (int i = 0; i < 3; i++) {
    if (!r->file[i]) continue;
    int fd = fileno(r->file[i]->stream.f);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) continue;
    fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
  }
}

/* Whether there is anything left to write. */
static bool has_input(const Run *r) {
  const tl_file *in = r->file[0];
  if (r->x->broken) return false;
  return r->x->sent < r->size || in->out.n > 0 || __fpending(in->stream.f) > 0;
}

/* Writes what the pipe takes: what the script has written before, then the
 * input. Bytes, 0: it takes none, or -errno. */
static TL_GIL ssize_t feed(const Run *r) {
  tl_file *in = r->file[0];
  if (in->out.n > 0 || __fpending(in->stream.f) > 0) {
    int err = tl_file_flush_now(r->L, in, false);
    if (err) return -err;
    if (in->out.n > 0) return 0;
  }
  size_t n = r->size - r->x->sent;
  if (n > PIECE) n = PIECE;
  if (n == 0) return 1;
  const tl_thread *t = bind_thread();
  ssize_t written = os_write_quiet(fileno(in->stream.f), r->input + r->x->sent,
                                   n, t == t->interp->main);
  if (written > 0) r->x->sent += (size_t)written;
  return written;
}

/* What can be done with stream i without waiting. 1: something, 0: nothing, or
 * -errno. */
static TL_GIL int move(const Run *r, int i) {
  bool writes = i == 0;
  ssize_t n = writes ? feed(r) : tl_file_fetch(r->L, r->file[i]);
  if (n == -EAGAIN || n == -EINTR) return 0;
  if (writes && n == -EPIPE) {
    r->x->broken = true; /* it has read what it wanted */
    return 1;
  }
  if (writes || n < 0) return n > 0 ? 1 : (int)n;
  if (n == 0) r->x->ended[i] = true;
  return 1;
}

/* The streams to be waited for; '*which' says what each descriptor is. */
static TL_GIL int list_streams(const Run *r, struct pollfd fds[4],
                               int which[3]) {
  int n = 0;
  for (int i = 0; i < 3; i++) {
    if (!r->file[i] || (i == 0 ? !has_input(r) : r->x->ended[i])) continue;
    which[n] = i;
    fds[n++] = (struct pollfd){.fd = fileno(r->file[i]->stream.f),
                               .events = i == 0 ? POLLOUT : POLLIN};
  }
  return n;
}

/* Moves what the n descriptors are ready for; with 'all' tries each of them. 1:
 * something was moved, 0, or -errno. */
static TL_GIL int move_ready(const Run *r, const struct pollfd *fds,
                             const int *which, int n, bool all) {
  int moved = 0;
  for (int i = 0; i < n; i++) {
    if (!all && fds[i].revents == 0) continue;
    int done = move(r, which[i]);
    if (done < 0) return done;
    if (done > 0) moved = 1;
  }
  return moved;
}

/* Until all is read, or all is written while stdin is open, or there is no more
 * time; -EINTR: something is pending. */
static TL_GIL int transfer(const Run *r) {
  struct pollfd fds[4];
  int which[3], rounds = LAST_ROUNDS;
  for (;;) {
    if (r->file[0] && !has_input(r)) return WRITTEN;
    int n = list_streams(r, fds, which);
    if (n == 0) return DONE;
    tl_observation o = {.fds = fds, .fd_count = n};
    int ready = tl_observe(r->L, &o, r->deadline);
    if (ready < 0) return ready;
    /* Pending and not raised, in a killed thread's __close: nothing was
     * polled. */
    bool pending = tl_is_pending(bind_thread());
    int moved = move_ready(r, fds, which, n, pending || ready == 0);
    if (moved < 0) return moved;
    if (pending) return -EINTR;
    if (ready == 0 && (moved == 0 || rounds-- == 0)) return TIMED_OUT;
  }
}

/* --- A call --------------------------------------------------------------- */

static TL_GIL tl_file *find_busy(const Run *r) {
  for (int i = 0; i < 3; i++)
    if (r->file[i] && tl_file_busy(r->file[i])) return r->file[i];
  return NULL;
}

/* Waits until nobody is inside any of the files and enters all; false: not in
 * time. May raise. */
static TL_GIL bool enter(Run *r) {
  for (;;) {
    find_files(r->L, r->file);
    tl_file *busy = find_busy(r);
    if (!busy) break;
    if (busy->lost)
      luaL_error(r->L, "file was in use when this process was forked");
    if (r->deadline != TL_FOREVER && os_now() >= r->deadline) return false;
    tl_observe_queue(r->L, &busy->waiters, r->deadline);
    tl_check(r->L);
  }
  for (int i = 0; i < 3; i++)
    if (r->file[i]) tl_file_enter(r->file[i]);
  set_blocking(r, false);
  return true;
}

static TL_GIL void leave(const Run *r) {
  set_blocking(r, true);
  for (int i = 0; i < 3; i++)
    if (r->file[i]) tl_file_leave(r->file[i]);
}

/* exchange:run([timeout]): true once all has been read; "written" when stdin is
 * to be closed, for all is written or nobody reads it; false if the time
 * passed. */
static TL_GIL int exchange_run(lua_State *L) {
  Run r = {.L = L, .x = check_exchange(L), .deadline = bind_deadline(L, 2)};
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 4);
  r.input = lua_tolstring(L, 3, &r.size);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
  int outcome;
  do {
    tl_check(L);
    outcome = TIMED_OUT;
    if (!enter(&r)) break;
    outcome = transfer(&r);
    leave(&r);
  } while (outcome == -EINTR);
  if (outcome == -ENOMEM) {
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
  }
  if (outcome < 0) return tl_error_os(L, -outcome, "communicate");
  if (outcome == WRITTEN)
    lua_pushliteral(L, "written");
  else
    lua_pushboolean(L, outcome == DONE);
  return 1;
}

/* Pushes what has been read so far of the open pipe. */
static TL_GIL void push_read(lua_State *L, const tl_file *file, bool theirs) {
  const tl_bytes *in = &file->in;
  size_t at = theirs ? in->n : file->in_at;
  lua_pushlstring(L, in->n > at ? in->p + at : "", in->n - at);
}

/* exchange:output([take]): what has been read so far of stdout and stderr, nil
 * for what is no open pipe. With 'take' it is the exchange's from now on, which
 * returns it ever again, and what another thread is reading from is that one's.
 */
static TL_GIL int exchange_output(lua_State *L) {
  check_exchange(L);
  bool take = lua_toboolean(L, 2), theirs[3];
  tl_file *file[3];
  lua_settop(L, 1);
  find_files(L, file);
  for (int i = 1; i < 3; i++) {
    theirs[i] = file[i] && take && tl_file_busy(file[i]);
    if (file[i])
      push_read(L, file[i], theirs[i]);
    else if (lua_getiuservalue(L, 1, i + 1) == LUA_TUSERDATA)
      lua_pushnil(L), lua_replace(L, -2);
  }
  for (int i = 1; i < 3 && take; i++) {
    if (!file[i]) continue;
    lua_pushvalue(L, 1 + i);
    lua_setiuservalue(L, 1, i + 1);
    if (theirs[i]) continue;
    tl_bytes_free(L, &file[i]->in);
    file[i]->in_at = 0;
  }
  return 2;
}

/* Exchange(stdin, stdout, stderr, input) */
static TL_GIL int exchange_new(lua_State *L) {
  lua_settop(L, 4);
  for (int i = 1; i <= 3; i++)
    if (!lua_isnil(L, i)) luaL_checkudata(L, i, LUA_FILEHANDLE);
  luaL_optstring(L, 4, NULL);
  Exchange *x = lua_newuserdatauv(L, sizeof *x, 4);
  *x = (Exchange){0};
  for (int i = 1; i <= 4; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, -2, i);
  }
  luaL_setmetatable(L, EXCHANGE);
  return 1;
}

static const luaL_Reg methods[] = {
    {"output", exchange_output}, {"run", exchange_run}, {NULL, NULL}};

void subprocess_open_exchange(lua_State *L) {
  bind_newclass(L, EXCHANGE, methods, NULL);
  lua_pushcfunction(L, exchange_new);
  lua_setfield(L, -2, "Exchange");
}
