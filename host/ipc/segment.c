/* segment.c - shared memory: Linux. */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "os.h"

/* Bytes that are allocated at a time: in about a millisecond. */
#define PIECE ((size_t)4 << 20)

/* Nothing else says no: the kernel fills all memory and swap with one file, and
 * then kills whom it likes. */
static bool is_too_much(size_t size) {
  struct sysinfo info;
  if (sysinfo(&info) < 0) return false;
  uint64_t all = (uint64_t)info.totalram + info.totalswap;
  return size / info.mem_unit >= all;
}

/* Before some version of Linux 6 a signal takes back what the call has
 * allocated so far: a large one might never end under the signals of
 * preemption. */
static int allocate_piece(int fd, size_t at, size_t size) {
  int err;
  do {
    err = posix_fallocate(fd, (off_t)at, (off_t)size);
  } while (err == EINTR);
  return -err;
}

int os_segment_allocate(int fd, size_t size) {
  if (is_too_much(size)) return -ENOMEM;
  int err = 0;
  for (size_t at = 0; at < size && !err; at += PIECE)
    err = allocate_piece(fd, at, size - at < PIECE ? size - at : PIECE);
  return err;
}

int os_segment_map(os_segment *s, size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
  if (p == MAP_FAILED) return -errno;
  s->memory = p;
  s->size = size;
  return 0;
}

int os_segment_create(os_segment *s, const char *name, size_t size) {
  *s = (os_segment){.fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (s->fd < 0) return -errno;
  int err = size > 0 ? os_segment_allocate(s->fd, size) : -EINVAL;
  if (!err && fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) err = -errno;
  if (!err) err = os_segment_map(s, size);
  if (err) os_segment_close(s);
  return err;
}

/* The size of the file, which cannot become less; negative errno. */
static off_t size_of(int fd) {
  struct stat st;
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK)) return -EINVAL;
  return fstat(fd, &st) < 0 ? -errno : st.st_size;
}

int os_segment_open(os_segment *s, int fd, size_t least) {
  *s = (os_segment){.fd = fd};
  off_t size = size_of(fd);
  int err = size < 0 ? (int)size : 0;
  if (!err && (size == 0 || (size_t)size < least)) err = -EINVAL;
  if (!err) err = os_segment_map(s, (size_t)size);
  if (err) os_segment_close(s);
  return err;
}

void os_segment_close(os_segment *s) {
  if (s->memory) munmap(s->memory, s->size);
  os_close(s->fd);
  *s = (os_segment){.fd = -1};
}
