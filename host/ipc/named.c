/* named.c - named shared memory: Linux. */
#include "named.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

#define FOLDER "/dev/shm" /* where the C library has them */
#define MODE 0600

typedef struct path {
  char text[sizeof FOLDER + 1 + OS_NAMED_MAX];
} path;

static path path_of(const char *name) {
  path p;
  snprintf(p.text, sizeof p.text, FOLDER "/%s", name);
  return p;
}

bool os_named_valid(const char *name, size_t length) {
  if (length == 0 || length > OS_NAMED_MAX) return false;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  for (size_t i = 0; i < length; i++)
    if (name[i] == '/' || (unsigned char)name[i] < ' ' || name[i] == 127)
      return false;
  return true;
}

int os_named_random(char name[OS_NAMED_RANDOM]) {
  uint32_t number;
  if (getrandom(&number, sizeof number, 0) != sizeof number) return -EAGAIN;
  snprintf(name, OS_NAMED_RANDOM, "psm_%08x", number);
  return 0;
}

int os_named_make(os_segment *s, size_t size) {
  if (size == 0) return -EINVAL;
  *s = (os_segment){.fd = open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, MODE)};
  if (s->fd < 0) return -errno;
  int err = os_segment_allocate(s->fd, size);
  if (!err) err = os_segment_map(s, size);
  if (err) os_segment_close(s);
  return err;
}

int os_named_publish(const os_segment *s, const char *name) {
  char file[sizeof "/proc/self/fd/" + 3 * sizeof(int)];
  snprintf(file, sizeof file, "/proc/self/fd/%d", s->fd);
  path p = path_of(name);
  int err = linkat(AT_FDCWD, file, AT_FDCWD, p.text, AT_SYMLINK_FOLLOW);
  return err < 0 ? -errno : 0;
}

/* The file's size, all of which is allocated: others than us may have left
 * that for later. */
static int whole_size(int fd, size_t *size) {
  struct stat st;
  if (fstat(fd, &st) < 0) return -errno;
  if (!S_ISREG(st.st_mode) || st.st_size == 0) return -EINVAL;
  *size = (size_t)st.st_size;
  bool whole = (uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size;
  return whole ? 0 : os_segment_allocate(fd, *size);
}

int os_named_open(os_segment *s, const char *name) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  size_t size = 0;
  *s = (os_segment){.fd = open(path_of(name).text, flags)};
  if (s->fd < 0) return -errno;
  int err = whole_size(s->fd, &size);
  if (!err) err = os_segment_map(s, size);
  if (err) os_segment_close(s);
  return err;
}

uint64_t os_named_id(const os_segment *s) {
  struct stat st;
  return fstat(s->fd, &st) < 0 ? 0 : st.st_ino;
}

int os_named_unlink(const char *name, uint64_t id) {
  path p = path_of(name);
  struct stat st;
  if (lstat(p.text, &st) < 0) return -errno;
  if (st.st_ino != id) return -ENOENT;
  return unlink(p.text) < 0 ? -errno : 0;
}
