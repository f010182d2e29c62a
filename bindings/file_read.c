/* file_read.c - reading from a file.
 *
 * A call takes the bytes that its formats consume out of stdio's buffer into
 * file->in, and remembers where each result lies there. Only when all of them
 * are there does it leave the file and make Lua values of them. So an
 * interrupted call has consumed nothing: what it had taken is still the
 * beginning of file->in, where the next call looks first. */
#include "file.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE ((size_t)64 * 1024) /* bytes worth a change of threads */
#define LONGEST_NUMERAL 200       /* as Lua has it */

typedef struct result {
  size_t start, n; /* in file->in */
  bool numeral;    /* its bytes are one so far */
  enum { BYTES, INTEGER, FLOAT } type;
  lua_Integer integer;
  lua_Number number;
} result;

typedef struct reading {
  lua_State *L;
  tl_file *file;
  FILE *f;
  size_t pos; /* what comes before it in file->in is consumed */
  int err;    /* errno; EINTR: interrupted */
} reading;

/* --- bytes --------------------------------------------------------------- */

static size_t available(FILE *f) {
  return (size_t)(f->_IO_read_end - f->_IO_read_ptr);
}

/* Moves n available bytes to file->in. */
static TL_GIL bool take(reading *r, size_t n) {
  if (!tl_bytes_reserve(r->L, &r->file->in, n)) {
    r->err = ENOMEM;
    return false;
  }
  tl_bytes *in = &r->file->in;
  in->n += fread(in->p + in->n, 1, n, r->f);
  return true;
}

/* A prompt that lies in stdout's buffer must be seen before the answer is
 * waited for. stdio does the same, but it would block. */
static TL_GIL void show_prompt(lua_State *L) {
  tl_file *out = tl_files_get(L)->out;
  if (__flbf(stdout) && __fpending(stdout) > 0 && !tl_file_busy(out))
    tl_file_flush_now(L, out, false);
}

/* Waits until the file can be read; false: r->err. */
static TL_GIL bool await(reading *r) {
  tl_file *file = r->file;
  if (file->kind == TL_FILE_PLAIN || !__freadable(r->f)) return true;
  if (__fwriting(r->f)) tl_file_flush_now(r->L, file, true);
  int fd = fileno(r->f), ready;
  if (tl_in_finalizer(r->L)) {
    ready = os_ready(fd, POLLIN);
    if (ready == 0) ready = -EDEADLK;
  } else {
    show_prompt(r->L);
    do
      ready = tl_wait_fd(r->L, fd, POLLIN, TL_FOREVER, "read");
    while (ready == 0);
  }
  if (ready < 0) r->err = -ready;
  return ready > 0;
}

/* Makes stdio read. getc and ungetc give back its buffer as it was. */
static int underflow(FILE *f) {
  flockfile(f);
  int c = getc_unlocked(f);
  if (c != EOF) ungetc(c, f);
  funlockfile(f);
  return c;
}

/* True once stdio's buffer holds something; false at the end of the file or
 * when r->err is set. */
static TL_GIL bool fill(reading *r) {
  while (available(r->f) == 0) {
    if (feof(r->f) || r->err) return false;
    if (!await(r)) return false;
    if (available(r->f) > 0 || underflow(r->f) != EOF) return true;
    if (!ferror(r->f)) return false;
    if (errno == EINTR || errno == EAGAIN) {
      clearerr(r->f);
    } else {
      r->err = errno;
      return false;
    }
  }
  return true;
}

/* The next byte, which stays; or EOF. */
static TL_GIL int peek(reading *r) {
  const tl_bytes *in = &r->file->in;
  if (r->pos < in->n) return (unsigned char)in->p[r->pos];
  return fill(r) ? (unsigned char)*r->f->_IO_read_ptr : EOF;
}

/* Consumes the byte that was peeked at. */
static TL_GIL bool next(reading *r) {
  tl_bytes *in = &r->file->in;
  if (r->pos == in->n) {
    if (in->n == in->size && !tl_bytes_reserve(r->L, in, 1)) {
      r->err = ENOMEM;
      return false;
    }
    in->p[in->n++] = (char)getc_unlocked(r->f);
  }
  r->pos++;
  return true;
}

/* --- formats: true if something was read --------------------------------- */

static TL_GIL bool read_line(reading *r, result *res, bool chop) {
  size_t from = r->pos;
  const tl_bytes *in = &r->file->in;
  for (;;) {
    const char *nl =
        from < in->n ? memchr(in->p + from, '\n', in->n - from) : NULL;
    if (nl) {
      r->pos = (size_t)(nl - in->p) + 1;
      break;
    }
    from = in->n;
    if (!fill(r)) {
      r->pos = in->n;
      res->n = r->pos - res->start;
      return res->n > 0;
    }
    size_t n = available(r->f);
    nl = memchr(r->f->_IO_read_ptr, '\n', n);
    if (!take(r, nl ? (size_t)(nl - r->f->_IO_read_ptr) + 1 : n)) return false;
  }
  res->n = r->pos - res->start - chop;
  return true;
}

/* Past stdio's buffer, which is empty: a pipe keeps no offset that stdio would
 * have to know. Its end and its errors are left for stdio to find. */
static TL_GIL bool read_pipe(reading *r, size_t want) {
  tl_bytes *in = &r->file->in;
  size_t n = want < LARGE ? want : LARGE;
  if (!await(r)) return false;
  if (!tl_bytes_reserve(r->L, in, n)) {
    r->err = ENOMEM;
    return false;
  }
  ssize_t got = read(fileno(r->f), in->p + in->n, n);
  if (got <= 0) return fill(r);
  in->n += (size_t)got;
  return true;
}

/* A large piece of a regular file, without the GIL; stdio's buffer is empty. */
static TL_GIL bool read_away(reading *r, size_t n) {
  tl_bytes *in = &r->file->in;
  if (!tl_bytes_reserve(r->L, in, n)) {
    r->err = ENOMEM;
    return false;
  }
  tl_thread *t = tl_self();
  tl_block_begin(t, "read");
  size_t got = fread(in->p + in->n, 1, n, r->f);
  int err = ferror(r->f) ? errno : 0;
  tl_block_end(t);
  in->n += got;
  if (err) r->err = err;
  return got == n && !err;
}

/* How much of a regular file is left; 0 if that is not known. */
static size_t left_of(FILE *f) {
  struct stat st;
  off_t at = ftello(f);
  if (at < 0 || fstat(fileno(f), &st) != 0 || st.st_size <= at) return 0;
  return (size_t)(st.st_size - at);
}

static TL_GIL bool read_more(reading *r, size_t want) {
  size_t n = available(r->f);
  if (n > 0) return take(r, n < want ? n : want);
  if (feof(r->f) || r->err || tl_in_finalizer(r->L) || want < LARGE)
    return fill(r);
  if (r->file->kind == TL_FILE_PIPE && __freadable(r->f))
    return read_pipe(r, want);
  if (r->file->kind == TL_FILE_PLAIN) {
    size_t left = left_of(r->f);
    if (left >= LARGE) return read_away(r, left < want ? left : want);
  }
  return fill(r);
}

static TL_GIL bool read_bytes(reading *r, result *res, size_t want) {
  const tl_bytes *in = &r->file->in;
  while (in->n - r->pos < want)
    if (!read_more(r, want - (in->n - r->pos))) break;
  size_t n = in->n - r->pos;
  res->n = n < want ? n : want;
  r->pos += res->n;
  return res->n > 0;
}

/* Consumes the next byte if it is one of the two; a numeral that gets too long
 * is none. */
static TL_GIL bool accept(reading *r, result *res, const char set[2]) {
  int c = peek(r);
  if (c == EOF || (c != (unsigned char)set[0] && c != (unsigned char)set[1]))
    return false;
  if (r->pos - res->start >= LONGEST_NUMERAL) {
    res->numeral = false;
    return false;
  }
  return next(r);
}

static TL_GIL int read_digits(reading *r, result *res, bool hex) {
  for (int n = 0;; n++) {
    int c = peek(r);
    if (c == EOF || !(hex ? isxdigit(c) : isdigit(c))) return n;
    const char same[2] = {(char)c, (char)c};
    if (!accept(r, res, same)) return n;
  }
}

/* The number that the bytes are; the stack is only passed through. */
static TL_GIL bool convert(lua_State *L, const char *p, result *res) {
  char text[LONGEST_NUMERAL + 1];
  if (!res->numeral || res->n == 0) return false;
  memcpy(text, p, res->n);
  text[res->n] = '\0';
  if (lua_stringtonumber(L, text) == 0) return false;
  res->type = lua_isinteger(L, -1) ? INTEGER : FLOAT;
  if (res->type == INTEGER)
    res->integer = lua_tointeger(L, -1);
  else
    res->number = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return true;
}

/* The longest prefix of a numeral that Lua could accept. */
static TL_GIL bool read_number(reading *r, result *res) {
  const char point[2] = {localeconv()->decimal_point[0], '.'};
  bool hex = false;
  int digits = 0, c;
  while ((c = peek(r)) != EOF && isspace(c))
    if (!next(r)) return false;
  res->start = r->pos;
  res->numeral = true;
  accept(r, res, "-+");
  if (accept(r, res, "00")) {
    hex = accept(r, res, "xX");
    if (!hex) digits = 1;
  }
  digits += read_digits(r, res, hex);
  if (accept(r, res, point)) digits += read_digits(r, res, hex);
  if (digits > 0 && accept(r, res, hex ? "pP" : "eE")) {
    accept(r, res, "-+");
    read_digits(r, res, false);
  }
  if (r->err) return false;
  res->n = r->pos - res->start;
  return convert(r->L, r->file->in.p + res->start, res);
}

/* --- a call -------------------------------------------------------------- */

/* Reads by the format at 'arg'. False: nothing read, or r->err; '*bad' is set
 * when it is no format. */
static TL_GIL bool read_format(reading *r, result *res, int arg, int *bad) {
  lua_State *L = r->L;
  *res = (result){.start = r->pos};
  if (lua_type(L, arg) == LUA_TNUMBER) {
    int exact;
    lua_Integer n = lua_tointegerx(L, arg, &exact);
    if (!exact) *bad = arg;
    if (exact && n < 0) r->err = ENOMEM;
    if (!exact || n < 0) return false;
    return n == 0 ? peek(r) != EOF : read_bytes(r, res, (size_t)n);
  }
  const char *p = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : "";
  switch (p[*p == '*']) {
  case 'n':
    return read_number(r, res);
  case 'l':
    return read_line(r, res, true);
  case 'L':
    return read_line(r, res, false);
  case 'a':
    read_bytes(r, res, SIZE_MAX / 2);
    return true;
  default:
    *bad = arg;
    return false;
  }
}

static TL_GIL void drop_front(tl_bytes *b, size_t n) {
  b->n -= n;
  if (n > 0 && b->n > 0) memmove(b->p, b->p + n, b->n);
}

static TL_GIL int raise_format(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER)
    luaL_checkinteger(L, arg);
  else
    luaL_checkstring(L, arg);
  return luaL_argerror(L, arg, "invalid format");
}

/* What cannot be returned as nil, message, errno. */
static TL_GIL int raise_error(lua_State *L, int err) {
  if (err == EDEADLK) return luaL_error(L, "cannot wait in a finalizer");
  if (err == ENOMEM) {
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
  }
  tl_check(L);
  return -1;
}

static TL_GIL void push_result(lua_State *L, const char *p, const result *res) {
  if (res->type == INTEGER)
    lua_pushinteger(L, res->integer);
  else if (res->type == FLOAT)
    lua_pushnumber(L, res->number);
  else
    lua_pushlstring(L, res->n > 0 ? p + res->start : "", res->n);
}

/* Reads by the formats until one fails; returns how many were tried. */
static TL_GIL int read_formats(reading *r, result *res, int first, int n,
                               bool *ok, int *bad) {
  int count = 0;
  *ok = true;
  *bad = 0;
  if (n == 0) {
    res[count] = (result){.start = r->pos};
    *ok = read_line(r, &res[count++], true);
  }
  while (count < n && *ok) {
    *ok = read_format(r, &res[count], first + count, bad);
    count++;
  }
  return count;
}

/* What comes before r->pos is the caller's; its bytes stay where they are until
 * something is read again. */
static TL_GIL void commit(reading *r) {
  tl_file *file = r->file;
  file->in_at = r->pos;
  if (r->pos == file->in.n) file->in_at = file->in.n = 0;
}

/* Pushes the results. A push may run a finalizer that reads this file, after it
 * has copied the bytes: so one push copies the bytes of all. */
static TL_GIL void push_results(reading *r, const result *res, int count,
                                bool ok) {
  lua_State *L = r->L;
  const char *p = r->file->in.p;
  commit(r);
  if (count > 1) p = lua_pushlstring(L, p ? p : "", r->pos);
  for (int i = 0; i < count - !ok; i++)
    push_result(L, p, &res[i]);
  if (!ok) luaL_pushfail(L);
  if (r->file->in.size > LARGE && r->file->in.n == 0)
    tl_bytes_free(L, &r->file->in);
}

int tl_file_read(lua_State *L, tl_file *file, int first, int n) {
  reading r = {.L = L, .file = file, .f = file->stream.f};
  result res[TL_FILE_FORMATS];
  bool ok;
  int bad;
  drop_front(&file->in, file->in_at);
  file->in_at = 0;
  clearerr(r.f);
  int count = read_formats(&r, res, first, n, &ok, &bad);
  if (bad) commit(&r);
  tl_file_leave(file);
  if (bad) return raise_format(L, bad);
  switch (r.err) {
  case 0:
    push_results(&r, res, count, ok);
    return count;
  case EINTR:
  case ENOMEM:
  case EDEADLK:
    return raise_error(L, r.err);
  default:
    commit(&r);
    errno = r.err;
    return luaL_fileresult(L, 0, NULL);
  }
}

ssize_t tl_file_fetch(lua_State *L, tl_file *file) {
  reading r = {.L = L, .file = file, .f = file->stream.f};
  size_t n = available(r.f);
  if (n > 0) return take(&r, n) ? (ssize_t)n : -ENOMEM;
  tl_bytes *in = &file->in;
  if (!tl_bytes_reserve(L, in, LARGE)) return -ENOMEM;
  ssize_t got = read(fileno(r.f), in->p + in->n, LARGE);
  if (got > 0) in->n += (size_t)got;
  return got < 0 ? -errno : got;
}

/* How many of the n bytes at p the format at 'arg' takes, and how many of those
 * are returned; 0: not a case for here. */
static TL_GIL size_t quick_size(lua_State *L, int arg, const char *p, size_t n,
                                size_t *shown) {
  int type = lua_type(L, arg);
  if (type == LUA_TNUMBER) {
    lua_Integer want = lua_tointeger(L, arg);
    *shown = (size_t)want;
    return want > 0 && (size_t)want <= n ? (size_t)want : 0;
  }
  const char *format = type == LUA_TSTRING ? lua_tostring(L, arg) : "l";
  char c = format[*format == '*'];
  if (type != LUA_TSTRING && type != LUA_TNONE) return 0;
  if (c != 'l' && c != 'L') return 0;
  const char *nl = memchr(p, '\n', n);
  if (!nl) return 0;
  *shown = (size_t)(nl - p) + (c == 'L');
  return (size_t)(nl - p) + 1;
}

bool tl_file_quick(lua_State *L, tl_file *file, int arg) {
  FILE *f = file->stream.f;
  if (file->in.n > 0) return false;
  flockfile(f);
  const char *p = f->_IO_read_ptr;
  size_t n = available(f), shown = 0;
  size_t used = n > 0 ? quick_size(L, arg, p, n, &shown) : 0;
  f->_IO_read_ptr += used;
  funlockfile(f);
  if (used > 0) lua_pushlstring(L, p, shown);
  return used > 0;
}
