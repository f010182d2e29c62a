/* descriptors.h - how many descriptors a test has open, none at its end. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline int count_descriptors(void) {
  int n = 0;
  DIR *dir = opendir("/proc/self/fd");
  assert_non_null(dir);
  while (readdir(dir))
    n++;
  closedir(dir);
  return n;
}

static int descriptors_before;

/* How many more than when the test began. */
static inline int opened(void) {
  return count_descriptors() - descriptors_before;
}

/* What a test begins and ends with. */
static inline int note_descriptors(void **state) {
  (void)state;
  descriptors_before = count_descriptors();
  return 0;
}

static inline int check_descriptors(void **state) {
  (void)state;
  return opened() == 0 ? 0 : -1;
}

#endif
