/* arena.c - blocks of shared memory: chunks that are counted. */
#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

#define LEAST_CHUNK ((size_t)64 * 1024)
#define MOST_CHUNK ((size_t)1024 * 1024)

struct ipc_chunk {
  os_segment segment;
  ipc_chunk *next, **link; /* in the arena's list; link NULL: in none */
  size_t used;             /* bytes that have been cut */
  size_t users;            /* its blocks, and the arena while it is current */
  dev_t device;            /* with 'inode': which file it is */
  ino_t inode;
};

static void unlink_chunk(ipc_chunk *c) {
  if (c->link == NULL) return;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->link = NULL;
}

static void leave_chunk(ipc_chunk *c) {
  if (c == NULL || --c->users > 0) return;
  unlink_chunk(c);
  os_segment_close(&c->segment);
  free(c);
}

/* A chunk of the segment, with one user. NULL, and what is wrong: the segment
 * stays the caller's. */
static ipc_chunk *add_chunk(ipc_arena *a, const os_segment *s, int *err) {
  struct stat st;
  if (fstat(s->fd, &st) < 0) return *err = -EIO, NULL;
  ipc_chunk *c = malloc(sizeof *c);
  if (c == NULL) return *err = -ENOMEM, NULL;
  *c = (ipc_chunk){.segment = *s,
                   .next = a->chunks,
                   .link = &a->chunks,
                   .users = 1,
                   .device = st.st_dev,
                   .inode = st.st_ino};
  if (c->next) c->next->link = &c->next;
  a->chunks = c;
  return c;
}

static ipc_block block_at(ipc_chunk *c, size_t offset) {
  c->users++;
  return (ipc_block){.memory = (unsigned char *)c->segment.memory + offset,
                     .chunk = c};
}

/* At most half of what the blocks need that are there: not of what is mapped,
 * for a block that stays keeps its whole chunk, however much was freed in it.
 */
static size_t next_size(const ipc_arena *a) {
  size_t need = 0, size = LEAST_CHUNK;
  for (const ipc_chunk *c = a->chunks; c != NULL; c = c->next)
    need += c->users * IPC_ALIGN;
  while (size < MOST_CHUNK && 4 * size <= need)
    size *= 2;
  return size;
}

/* The next blocks come from a new chunk. */
static int renew(ipc_arena *a) {
  os_segment s;
  leave_chunk(a->current);
  a->current = NULL;
  int err = os_segment_create(&s, "tidelock-arena", next_size(a));
  if (err) return err;
  ipc_chunk *c = add_chunk(a, &s, &err);
  if (c == NULL) {
    os_segment_close(&s);
    return err;
  }
  a->current = c;
  a->owner = getpid();
  return 0;
}

int ipc_arena_cut(ipc_arena *a, size_t size, ipc_block *b) {
  if (size == 0 || size > IPC_SMALL) return -EINVAL;
  size = (size + IPC_ALIGN - 1) & ~(IPC_ALIGN - 1);
  /* A forked child's parent goes on cutting from what is current. */
  if (a->current == NULL || a->owner != getpid() ||
      a->current->used + size > a->current->segment.size) {
    int err = renew(a);
    if (err) return err;
  }
  *b = block_at(a->current, a->current->used);
  a->current->used += size;
  return 0;
}

int ipc_arena_adopt(ipc_arena *a, os_segment *s, ipc_block *b) {
  int err = 0;
  ipc_chunk *c = add_chunk(a, s, &err);
  if (c == NULL) return err;
  *b = block_at(c, 0);
  leave_chunk(c);
  return 0;
}

/* The chunk that is the descriptor's file, with the caller as a user. */
static ipc_chunk *find_chunk(const ipc_arena *a, int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) return NULL;
  ipc_chunk *c = a->chunks;
  while (c != NULL && (c->inode != st.st_ino || c->device != st.st_dev))
    c = c->next;
  if (c != NULL) c->users++;
  return c;
}

static ipc_chunk *open_chunk(ipc_arena *a, int fd, int *err) {
  os_segment s = {.fd = -1};
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  *err = copy < 0 ? -errno : os_segment_open(&s, copy, 1);
  if (*err) return NULL;
  ipc_chunk *c = add_chunk(a, &s, err);
  if (c == NULL) os_segment_close(&s);
  return c;
}

int ipc_arena_open(ipc_arena *a, int fd, size_t offset, size_t size,
                   ipc_block *b) {
  int err = 0;
  ipc_chunk *c = find_chunk(a, fd);
  if (c == NULL) c = open_chunk(a, fd, &err);
  if (c == NULL) return err;
  size_t whole = c->segment.size;
  bool inside = size > 0 && size <= whole && offset <= whole - size &&
                offset % IPC_ALIGN == 0;
  if (inside) *b = block_at(c, offset);
  leave_chunk(c);
  return inside ? 0 : -EINVAL;
}

int ipc_block_fd(const ipc_block *b) {
  return b->chunk->segment.fd;
}

size_t ipc_block_offset(const ipc_block *b) {
  return (size_t)(b->memory - (unsigned char *)b->chunk->segment.memory);
}

void ipc_block_free(ipc_block *b) {
  leave_chunk(b->chunk);
  *b = (ipc_block){0};
}

void ipc_arena_destroy(ipc_arena *a) {
  leave_chunk(a->current);
  while (a->chunks != NULL)
    unlink_chunk(a->chunks);
  *a = (ipc_arena){0};
}
