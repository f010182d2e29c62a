/* place.c - the maps of this process tell which file an address belongs to.
 * dladdr would give the name that the file was loaded by, which may be
 * relative to a folder that the process has left since, and for the program
 * nothing but argv[0]. */
#include "place.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The path in a line of the maps if the address is within; else NULL. */
static char *path_in(char *line, uintptr_t address) {
  uintptr_t first, end;
  int at = 0;
  if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &first, &end,
             &at) < 2 ||
      address < first || address >= end)
    return NULL;
  line[strcspn(line, "\n")] = '\0';
  return line + at;
}

int os_file_of(const void *address, char *path, size_t size) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return -errno;
  char line[PATH_MAX + 128], *found = NULL;
  while (found == NULL && fgets(line, sizeof line, maps))
    found = path_in(line, (uintptr_t)address);
  fclose(maps);
  if (found == NULL || found[0] != '/') return -ENOENT;
  size_t n = strlen(found);
  if (n >= size) return -ENAMETOOLONG;
  memcpy(path, found, n + 1);
  return 0;
}

void os_publish_library(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  if (library) dlclose(library);
}
