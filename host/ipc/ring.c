/* ring.c - messages in shared memory.
 *
 * A message is its length, 8 bytes, and its bytes, rounded up to 8: a unit is
 * 8 bytes. 'tail' and 'head' count units modulo 2^40 and messages modulo 2^24
 * in one word each. The place of a unit is its count modulo the capacity, so
 * when the capacity doubles a unit stays where it is or moves up by the old
 * capacity, into memory that nobody uses yet: the old ring is whole until the
 * store of the new capacity. */
#include "ipc/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "os.h"

#define UNIT ((uint64_t)8)
#define NUMBER_BITS 24
#define NUMBERS (((uint64_t)1 << NUMBER_BITS) - 1)
#define PLACES (((uint64_t)1 << 40) - 1)

/* So many puts without its being an eighth full make a ring loose. */
#define CALM 4096

static uint64_t place_of(uint64_t end) {
  return end >> NUMBER_BITS;
}

static uint64_t number_of(uint64_t end) {
  return end & NUMBERS;
}

/* 'end' moved on by one message of 'units'. */
static uint64_t moved(uint64_t end, uint64_t units) {
  return ((place_of(end) + units) & PLACES) << NUMBER_BITS |
         ((number_of(end) + 1) & NUMBERS);
}

static uint64_t units_of(uint64_t size) {
  return 1 + (size + UNIT - 1) / UNIT;
}

static uint64_t used_units(const ipc_ring *r) {
  return (place_of(atomic_load(&r->tail)) - place_of(atomic_load(&r->head))) &
         PLACES;
}

static uint64_t round_up(uint64_t n) {
  uint64_t power = IPC_RING_LEAST;
  while (power < n && power < (uint64_t)1 << 42)
    power *= 2;
  return power;
}

int ipc_ring_init(ipc_ring *r, uint64_t begin, uint64_t limit) {
  if (limit == 0) return -EINVAL;
  r->begin = begin;
  r->limit = round_up(limit);
  r->calm = 0;
  atomic_init(&r->capacity, IPC_RING_LEAST);
  atomic_init(&r->tail, 0);
  atomic_init(&r->head, 0);
  return 0;
}

static bool is_power(uint64_t n) {
  return n != 0 && (n & (n - 1)) == 0;
}

int ipc_ring_map(os_segment *s, uint64_t offset) {
  struct stat st;
  if (s->size < offset + sizeof(ipc_ring)) return -EINVAL;
  const ipc_ring *r = (const ipc_ring *)((char *)s->memory + offset);
  uint64_t capacity = atomic_load(&r->capacity);
  if (!is_power(capacity) || !is_power(r->limit) || capacity > r->limit ||
      capacity < IPC_RING_LEAST || r->begin < offset + sizeof *r ||
      r->begin > s->size)
    return -EINVAL;
  /* It may have grown since it was mapped, the file before the capacity. */
  if (fstat(s->fd, &st) < 0) return -errno;
  if ((uint64_t)st.st_size - r->begin < capacity) return -EINVAL;
  size_t span = r->begin + r->limit;
  if (span <= s->size) return 0;
  void *p = mremap(s->memory, s->size, span, MREMAP_MAYMOVE);
  if (p == MAP_FAILED) return -errno;
  s->memory = p;
  s->size = span;
  return 0;
}

uint32_t ipc_ring_count(const ipc_ring *r) {
  uint64_t head = atomic_load(&r->head); /* first: tail does not fall behind */
  return (uint32_t)((number_of(atomic_load(&r->tail)) - number_of(head)) &
                    NUMBERS);
}

uint32_t ipc_ring_put_number(const ipc_ring *r) {
  return (uint32_t)number_of(atomic_load(&r->tail));
}

uint32_t ipc_ring_taken_number(const ipc_ring *r) {
  return (uint32_t)number_of(atomic_load(&r->head));
}

/* --- Copying ------------------------------------------------------------ */

static char *data_of(const ipc_ring *r, const os_segment *s) {
  return (char *)s->memory + r->begin;
}

/* Copies n bytes to or from the place 'at', in bytes, round the end. */
static void copy_in(const ipc_ring *r, const os_segment *s, uint64_t at,
                    const void *from, uint64_t n) {
  uint64_t capacity = atomic_load(&r->capacity);
  if (n == 0) return; /* 'from' may be NULL */
  at &= capacity - 1;
  uint64_t first = capacity - at < n ? capacity - at : n;
  memcpy(data_of(r, s) + at, from, first);
  if (n > first) memcpy(data_of(r, s), (const char *)from + first, n - first);
}

static void copy_out(const ipc_ring *r, const os_segment *s, uint64_t at,
                     void *to, uint64_t n) {
  uint64_t capacity = atomic_load(&r->capacity);
  at &= capacity - 1;
  uint64_t first = capacity - at < n ? capacity - at : n;
  memcpy(to, data_of(r, s) + at, first);
  if (n > first) memcpy((char *)to + first, data_of(r, s), n - first);
}

/* --- Putting ------------------------------------------------------------ */

static uint64_t size_of(const struct iovec *parts, int n) {
  uint64_t size = 0;
  for (int i = 0; i < n; i++)
    size += parts[i].iov_len;
  return size;
}

static void note_use(ipc_ring *r, uint64_t used, uint64_t capacity) {
  if (used * 8 >= capacity)
    r->calm = 0;
  else if (r->calm <= CALM)
    r->calm++;
}

int ipc_ring_put(ipc_ring *r, const os_segment *s, const struct iovec *parts,
                 int n) {
  uint64_t size = size_of(parts, n), units = units_of(size);
  uint64_t capacity = atomic_load(&r->capacity);
  if (units * UNIT > r->limit) return -EMSGSIZE;
  uint64_t used = (used_units(r) + units) * UNIT;
  if (ipc_ring_count(r) == IPC_RING_MOST || used > r->limit) return -ENOSPC;
  if (used > capacity) return -EAGAIN;
  uint64_t tail = atomic_load(&r->tail), at = place_of(tail) * UNIT;
  copy_in(r, s, at, &size, sizeof size);
  at += UNIT;
  for (int i = 0; i < n; i++) {
    copy_in(r, s, at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  note_use(r, used, capacity);
  atomic_store(&r->tail, moved(tail, units));
  return 0;
}

/* The bytes from the place 'from' up to 'to', of the ring of that capacity,
 * go where they belong when it is twice as large. */
static void spread(const ipc_ring *r, const os_segment *s, uint64_t from,
                   uint64_t to, uint64_t capacity) {
  char *data = data_of(r, s);
  while (from < to) {
    uint64_t old = from & (capacity - 1), rest = capacity - old;
    if (rest > to - from) rest = to - from;
    if (from & capacity) memcpy(data + old + capacity, data + old, rest);
    from += rest;
  }
}

static int grow_twice(ipc_ring *r, const os_segment *s, uint64_t capacity) {
  int err = os_segment_allocate(s->fd, r->begin + 2 * capacity);
  if (err) return err;
  uint64_t from = place_of(atomic_load(&r->head)) * UNIT;
  spread(r, s, from, from + used_units(r) * UNIT, capacity);
  atomic_store(&r->capacity, 2 * capacity);
  return 0;
}

int ipc_ring_grow(ipc_ring *r, const os_segment *s, uint64_t size) {
  uint64_t need = (used_units(r) + units_of(size)) * UNIT;
  if (need > r->limit) return -ENOSPC;
  int err = 0;
  for (uint64_t c; !err && (c = atomic_load(&r->capacity)) < need;)
    err = grow_twice(r, s, c);
  r->calm = 0;
  return err;
}

bool ipc_ring_is_loose(const ipc_ring *r) {
  return r->calm > CALM && atomic_load(&r->capacity) > IPC_RING_LEAST &&
         used_units(r) == 0;
}

void ipc_ring_shrink(ipc_ring *r, const os_segment *s) {
  uint64_t capacity = atomic_load(&r->capacity);
  if (!ipc_ring_is_loose(r)) return;
  atomic_store(&r->capacity, IPC_RING_LEAST); /* it is empty: nothing moves */
  r->calm = 0;
  fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            (off_t)(r->begin + IPC_RING_LEAST),
            (off_t)(capacity - IPC_RING_LEAST)); /* or it keeps its memory */
}

/* --- Taking ------------------------------------------------------------- */

bool ipc_ring_peek(const ipc_ring *r, const os_segment *s, uint64_t *size) {
  uint64_t head = atomic_load(&r->head);
  if (head == atomic_load(&r->tail)) return false;
  copy_out(r, s, place_of(head) * UNIT, size, sizeof *size);
  return true;
}

void ipc_ring_copy(const ipc_ring *r, const os_segment *s, void *to,
                   uint64_t size) {
  copy_out(r, s, (place_of(atomic_load(&r->head)) + 1) * UNIT, to, size);
}

void ipc_ring_drop(ipc_ring *r, const os_segment *s) {
  uint64_t size, head = atomic_load(&r->head);
  if (ipc_ring_peek(r, s, &size))
    atomic_store(&r->head, moved(head, units_of(size)));
}
