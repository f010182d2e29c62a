/* file_write.c - writing to a file.
 *
 * A regular file is written by stdio. For what may block, the bytes that are
 * due are taken out of stdio's buffer, which is empty then and consistent, and
 * written here: at once if poll says that there is room, otherwise with the
 * GIL given up. So no lock of stdio is held while a pipe is full, an
 * interrupt ends the wait, and what an interrupt left unwritten stays in
 * file->out and goes first the next time. */
#include "file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio_ext.h>
#include <unistd.h>

#include "runtime.h"

#define LARGE ((size_t)64 * 1024) /* bytes worth a change of threads */

/* The process's own streams end it by SIGPIPE, as those of any program. */
static bool is_own(const tl_file *file) {
  return file->stream.f == stdout || file->stream.f == stderr;
}

/* lua_close runs alone, and finalizers never give up the GIL. */
static TL_GIL bool may_block(lua_State *L) {
  return tl_in_finalizer(L) || tl_closes_alone(L);
}

/* --- regular files: stdio does it ---------------------------------------- */

static int by_stdio(FILE *f, const char *s, size_t n, bool flush) {
  errno = 0;
  if (n > 0 && fwrite(s, 1, n, f) != n) return errno ? errno : EIO;
  if (flush && fflush(f) != 0) return errno ? errno : EIO;
  return 0;
}

static TL_GIL int put_plain(lua_State *L, tl_file *file, const char *s,
                            size_t n, bool flush) {
  FILE *f = file->stream.f;
  if (n + __fpending(f) < LARGE || tl_in_finalizer(L))
    return by_stdio(f, s, n, flush);
  tl_thread *t = tl_self();
  tl_block_begin(t, "write");
  int err = by_stdio(f, s, n, flush);
  tl_block_end(t);
  return err;
}

/* --- what may block ------------------------------------------------------ */

/* Other threads of ours block SIGPIPE, so that it stays pending there. When
 * stdout is closed the process shall end by it whichever thread finds out. */
static void let_sigpipe_through(void) {
  sigset_t set, old;
  if (sigismember(tl_runtime_sigmask(), SIGPIPE)) return;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_UNBLOCK, &set, &old);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Written bytes or negative errno. */
static ssize_t write_some(const tl_file *file, const char *s, size_t n) {
  int fd = fileno(file->stream.f);
  if (!is_own(file)) {
    const tl_thread *t = tl_self();
    return os_write_quiet(fd, s, n, t == t->interp->main);
  }
  ssize_t written = write(fd, s, n);
  if (written >= 0) return written;
  int err = errno;
  if (err == EPIPE && file->stream.f == stdout) let_sigpipe_through();
  return -err;
}

/* How much a descriptor takes for sure that poll has found writable. */
static size_t room_of(const tl_file *file) {
  return file->kind == TL_FILE_PIPE ? PIPE_BUF : 256;
}

/* Bytes written so far are counted in '*done'. 'wake' is readable when
 * something is pending; -1: nothing interrupts. */
static int write_all(const tl_file *file, const char *s, size_t n, size_t *done,
                     int wake) {
  int fd = fileno(file->stream.f);
  while (*done < n) {
    size_t chunk = n - *done;
    if (wake >= 0) {
      int ready = os_poll(fd, POLLOUT, wake, OS_FOREVER);
      if (ready < 0) return -ready;
      if (ready == 0) return EINTR;
      if (file->kind == TL_FILE_PIPE && chunk > PIPE_BUF) chunk = PIPE_BUF;
    }
    ssize_t written = write_some(file, s + *done, chunk);
    if (written >= 0)
      *done += (size_t)written;
    else if (written == -EAGAIN)
      os_poll(fd, POLLOUT, wake, OS_FOREVER);
    else if (written != -EINTR)
      return (int)-written;
    else if (wake >= 0)
      return EINTR;
  }
  return 0;
}

/* Nobody else could run meanwhile or cancel the caller, and Ctrl-C ends the
 * system call: no need to ask whether it will block. */
static TL_GIL int write_alone(tl_thread *t, const tl_file *file, const char *s,
                              size_t n, size_t *done) {
  while (*done < n) {
    if (tl_is_pending(t)) return EINTR;
    tl_block_begin(t, "write");
    ssize_t written = write_some(file, s + *done, n - *done);
    if (written == -EAGAIN)
      os_poll(fileno(file->stream.f), POLLOUT, -1, OS_FOREVER);
    tl_block_end(t);
    if (written >= 0)
      *done += (size_t)written;
    else if (written != -EAGAIN && written != -EINTR)
      return (int)-written;
  }
  return 0;
}

/* With the GIL given up for all of it. */
static TL_GIL int write_away(tl_thread *t, const tl_file *file, const char *s,
                             size_t n, size_t *done) {
  int wake = tl_thread_wakefd(t);
  if (wake < 0) return -wake;
  for (;;) { /* other signals end a poll as well */
    os_wakefd_clear(wake);
    if (tl_is_pending(t)) return EINTR;
    tl_block_begin(t, "write");
    int err = write_all(file, s, n, done, wake);
    tl_block_end(t);
    if (err != EINTR) return err;
  }
}

static TL_GIL int write_out(lua_State *L, tl_file *file, const char *s,
                            size_t n, size_t *done) {
  tl_thread *t = tl_self();
  if (may_block(L)) return write_all(file, s, n, done, -1);
  if (t->interp->thread_count == 1) return write_alone(t, file, s, n, done);
  int fd = fileno(file->stream.f);
  while (n - *done <= room_of(file) && *done < n) {
    int ready = os_ready(fd, POLLOUT);
    if (ready <= 0) break;
    ssize_t written = write_some(file, s + *done, n - *done);
    if (written >= 0)
      *done += (size_t)written;
    else if (written == -EAGAIN || written == -EINTR)
      break;
    else
      return (int)-written;
  }
  return *done < n ? write_away(t, file, s, n, done) : 0;
}

/* The bytes before the mark 'done' are gone. */
static void drop_front(tl_bytes *b, size_t done) {
  b->n -= done;
  if (done > 0 && b->n > 0) memmove(b->p, b->p + done, b->n);
}

/* Moves what stdio's buffer holds to file->out. */
static TL_GIL bool steal(lua_State *L, tl_file *file) {
  FILE *f = file->stream.f;
  flockfile(f);
  size_t n = __fpending(f);
  bool ok = n == 0 || tl_bytes_add(L, &file->out, f->_IO_write_base, n);
  if (ok && n > 0) __fpurge(f);
  funlockfile(f);
  return ok;
}

/* A fresh FILE gets its buffer at its first write, a terminal's is flushed at
 * each line. stderr has none unless the script asks for one. */
static size_t buffer_size(const tl_file *file) {
  FILE *f = file->stream.f;
  if (__fbufsize(f) == 0 && f != stderr) {
    bool line = __flbf(f) || isatty(fileno(f));
    setvbuf(f, NULL, _IOFBF, 0);
    if (line) setvbuf(f, NULL, _IOLBF, 0);
  }
  return __fbufsize(f);
}

/* The end of the last line in s; NULL if s makes nothing due. */
static const char *last_line(FILE *f, const char *s, size_t n) {
  return __flbf(f) ? memrchr(s, '\n', n) : NULL;
}

/* Whether s goes into the buffer without anything becoming due: as stdio
 * decides. */
static bool fits(FILE *f, size_t size, const char *s, size_t n) {
  if (n == 0) return true;
  return size > 1 && n <= size - __fpending(f) && !last_line(f, s, n);
}

/* How many of the last bytes of s, which does not fit, go into the buffer when
 * the rest is written. */
static size_t staying(FILE *f, size_t size, const char *s, size_t n) {
  if (size <= 1) return 0;
  const char *nl = last_line(f, s, n);
  size_t after = nl ? (size_t)(s + n - nl - 1) : __fpending(f) + n;
  return after % size < n ? after % size : n;
}

/* Writes file->out and then n bytes of s. Those of s that were begun are
 * finished, or kept in file->out. '*begun' says whether any was. */
static TL_GIL int send(lua_State *L, tl_file *file, const char *s, size_t n,
                       bool *begun) {
  size_t done = 0, before = file->out.n;
  *begun = false;
  if (before > 0 && before + n <= LARGE) {
    if (!tl_bytes_add(L, &file->out, s, n)) return ENOMEM;
    int err = write_out(L, file, file->out.p, before + n, &done);
    *begun = n > 0 && done > before;
    if (err == EINTR && !*begun) file->out.n = before;
    drop_front(&file->out, err == 0 || err == EINTR ? done : file->out.n);
    return err;
  }
  int err = before ? write_out(L, file, file->out.p, before, &done) : 0;
  drop_front(&file->out, err == 0 || err == EINTR ? done : before);
  if (err) return err;
  done = 0;
  err = write_out(L, file, s, n, &done);
  *begun = done > 0;
  if (err == EINTR && *begun &&
      !tl_bytes_add(L, &file->out, s + done, n - done))
    return ENOMEM;
  return err;
}

/* 0, errno, or negative when interrupted: -EINPROGRESS if s was begun, and is
 * file->out's now. */
static TL_GIL int put(lua_State *L, tl_file *file, const char *s, size_t n,
                      bool flush) {
  FILE *f = file->stream.f;
  if (file->kind < TL_FILE_PIPE || !__fwritable(f))
    return put_plain(L, file, s, n, flush);
  size_t size = buffer_size(file);
  if (!flush && fits(f, size, s, n)) return by_stdio(f, s, n, false);
  size_t stay = flush ? 0 : staying(f, size, s, n);
  if (!steal(L, file)) return ENOMEM;
  bool begun;
  int err = send(L, file, s, n - stay, &begun);
  s += n - stay;
  if (err == 0) return by_stdio(f, s, stay, false);
  if (err != EINTR) return err;
  if (!begun) return -EINTR;
  return tl_bytes_add(L, &file->out, s, stay) ? -EINPROGRESS : ENOMEM;
}

/* Another thread may get in between while pending calls run: they may use the
 * file themselves. */
static TL_GIL void run_pending(lua_State *L, tl_file *file) {
  tl_file_leave(file);
  tl_check(L);
  while (file->waiters.owner) {
    tl_observe_queue(L, &file->waiters, TL_FOREVER);
    tl_check(L);
  }
  tl_file_enter(file);
}

int tl_file_write(lua_State *L, tl_file *file, const char *s, size_t n,
                  bool flush) {
  for (;;) {
    int err = put(L, file, s, n, flush);
    if (err > 0) return err;
    if (err == 0 && !(flush && file->late.n > 0)) return 0;
    if (err == 0) tl_file_settle(file);
    if (err != -EINTR) n = 0, flush = true; /* s is out, or file->out's */
    if (err < 0) run_pending(L, file);
    if (file->stream.closef == NULL) return EBADF;
  }
}

int tl_file_write_late(lua_State *L, tl_file *file, const char *s, size_t n) {
  return tl_bytes_add(L, &file->late, s, n) ? 0 : ENOMEM;
}

void tl_file_settle(tl_file *file) {
  lua_State *L = tl_self()->interp->L; /* for its memory */
  tl_bytes *late = &file->late;
  if (file->kind < TL_FILE_PIPE)
    by_stdio(file->stream.f, late->p, late->n, true);
  else if (steal(L, file))
    tl_bytes_add(L, &file->out, late->p, late->n);
  late->n = 0;
}

int tl_file_flush_now(lua_State *L, tl_file *file, bool wait) {
  FILE *f = file->stream.f;
  if (!__fwriting(f) && file->out.n == 0) return 0;
  if (file->kind < TL_FILE_PIPE)
    return __fpending(f) > 0 ? by_stdio(f, NULL, 0, true) : 0;
  if (!steal(L, file)) return ENOMEM;
  size_t done = 0, n = file->out.n;
  int err = 0;
  if (wait) {
    err = write_all(file, file->out.p, n, &done, -1);
  } else {
    while (done < n && !err && os_ready(fileno(f), POLLOUT) > 0) {
      size_t room = room_of(file), end = n - done < room ? n : done + room;
      err = write_all(file, file->out.p, end, &done, -1);
    }
  }
  drop_front(&file->out, err ? n : done);
  return err;
}
