/* file.h - files under threads: what io, print and fork share.
 *
 * A file is a luaL_Stream, as C modules know it, with fields of ours behind
 * it; a stream that a C module has made gets a companion in a weak table.
 *
 * stdio's buffers are used as they are, so that C code and Lua may share a
 * FILE. What is ours is the waiting: bytes are taken from stdio's buffer, and
 * stdio is let read or write only when that does not block; what does is
 * waited for here, with no lock of stdio held. Instead the file has an owner,
 * the thread that is inside a call of it, whom others wait for.
 *
 * While a thread owns a file it calls nothing of Lua that may raise or run a
 * finalizer. So the order of each call is: arguments, enter, work, leave,
 * results. */
#ifndef TL_FILE_H
#define TL_FILE_H

#include <stdio.h>
#include <string.h>

#include "child.h"

/* How to wait for a file. */
typedef enum tl_file_kind {
  TL_FILE_PLAIN,  /* regular: it never blocks for long */
  TL_FILE_DEVICE, /* polled before it is read */
  TL_FILE_PIPE,   /* polled; takes PIPE_BUF bytes when ready */
  TL_FILE_STREAM, /* terminal, socket: polled, may take less */
} tl_file_kind;

/* Memory of the interpreter's allocator. */
typedef struct tl_bytes {
  char *p;
  size_t n, size;
} tl_bytes;

typedef struct tl_file tl_file;
struct tl_file {
  luaL_Stream stream; /* first: all that C modules see */
  const void *mark;   /* const: &tl_file_mark, tells ours from others' */
  tl_file_kind kind;  /* const while open */
  tl_file **link;     /* GIL: what points here in the list of open files */
  tl_file *next;      /* GIL */
  tl_waitq waiters;   /* GIL; its owner is inside a call */
  tl_bytes in;        /* owner: read, but not yet returned by a call */
  size_t in_at;       /* owner: where that begins in 'in' */
  tl_bytes out;       /* owner: taken from stdio's buffer, not yet written */
  tl_bytes late;      /* GIL: finalizers wrote it while the file was busy */
  tl_child *child;    /* GIL: of popen */
  bool lost;          /* GIL: a fork's child cannot know its state */
};

extern const char tl_file_mark;

/* The list of open files, one for each interpreter. */
typedef struct tl_files {
  tl_file *first;  /* GIL */
  tl_file *out;    /* const: the file of C's stdout */
  bool has_stdin;  /* const: its descriptor was open when this was made */
  int exit_status; /* GIL: what os.exit on another thread asked for */
} tl_files;

/* This interpreter's, made at first use; pushed as well. */
tl_files *tl_files_get(lua_State *L) TL_GIL;
tl_files *tl_files_push(lua_State *L) TL_GIL;

/* Pushes a file that is closed and has no FILE yet; its metatable is the one of
 * LUA_FILEHANDLE. */
tl_file *tl_file_new(lua_State *L) TL_GIL;

/* Gives it an open FILE and the function that closes it, and lists it. */
void tl_file_opened(lua_State *L, tl_file *file, FILE *f, lua_CFunction closef)
    TL_GIL;

/* The function that does not close a standard file. */
int tl_file_noclose(lua_State *L) TL_GIL;

/* Takes it off the list; its buffers are freed. */
void tl_file_closed(lua_State *L, tl_file *file) TL_GIL;

/* Our fields for the stream at idx. */
tl_file *tl_file_of(lua_State *L, int idx) TL_GIL;

/* Whether another call is inside the file, or it is lost: then enter. */
static inline bool tl_file_busy(const tl_file *file) {
  return file->waiters.owner != 0 || file->lost;
}

/* Waits until nobody is inside the file, enters it and goes on in 'k', which
 * calls tl_file_entered first. Raises in a finalizer if that takes waiting. */
int tl_file_wait(lua_State *L, tl_file *file, lua_KContext ctx, lua_KFunction k)
    TL_GIL;

/* Pops the outcome of the wait; false: something was pending, try again. The
 * file may have been closed meanwhile. */
bool tl_file_entered(lua_State *L, tl_file *file) TL_GIL;

static inline TL_GIL void tl_file_enter(tl_file *file) {
  file->waiters.owner = tl_self()->ident;
}

void tl_file_leave(tl_file *file) TL_GIL;

/* --- inside -------------------------------------------------------------- */

/* Writes into stdio's buffer, and what is due out of it; with 'flush' all.
 * Returns 0 or errno. May give up the GIL. What is pending meanwhile is run
 * or raised, the file having been left; a write that was begun is finished
 * first thing when the file is used again. */
int tl_file_write(lua_State *L, tl_file *file, const char *s, size_t n,
                  bool flush) TL_GIL;

/* The same for a finalizer when the file is busy: it waits for nobody, and
 * comes after what the thread inside is writing. */
int tl_file_write_late(lua_State *L, tl_file *file, const char *s, size_t n)
    TL_GIL;

/* Puts that in its place once nobody is in the middle of a write. */
void tl_file_settle(tl_file *file) TL_GIL;

/* Formats in one call: what Lua accepts for file:lines. */
#define TL_FILE_FORMATS 250

/* Reads by the n formats that start at argument 'first' and leaves the file.
 * Returns the number of results pushed, or -1: something was pending and has
 * been run, nothing was read, try again. Raises as file:read does. */
int tl_file_read(lua_State *L, tl_file *file, int first, int n) TL_GIL;

/* Reads once from a pipe, what is there, for later reads to return. Bytes, 0 at
 * the end, or negative errno; -EAGAIN only if its descriptor does not block. */
ssize_t tl_file_fetch(lua_State *L, tl_file *file) TL_GIL;

/* The usual cases without waiting: a line or a count of bytes, as the format at
 * 'arg' says (none: a line), that stdio's buffer already holds. Pushes it and
 * returns true, or false. The file is not busy. */
bool tl_file_quick(lua_State *L, tl_file *file, int arg) TL_GIL;

/* --- all files ----------------------------------------------------------- */

/* Writes out what the file holds and keeps the GIL: what does not block, or
 * with 'wait' all of it. Nobody is inside. Returns 0 or errno. */
int tl_file_flush_now(lua_State *L, tl_file *file, bool wait) TL_GIL;

/* The same for all files that nobody is inside of. */
void tl_files_flush(lua_State *L, bool wait) TL_GIL;

/* Standard input is empty from now on, and its descriptor /dev/null, for this
 * process and those it starts; unless it was closed. */
void tl_files_nostdin(lua_State *L) TL_GIL;

/* Enlarges b by n bytes; false: no memory. Runs no finalizer. */
bool tl_bytes_reserve(lua_State *L, tl_bytes *b, size_t n) TL_GIL;
bool tl_bytes_add(lua_State *L, tl_bytes *b, const char *s, size_t n) TL_GIL;
void tl_bytes_free(lua_State *L, tl_bytes *b) TL_GIL;

#endif
