/* place.h - where the program or the library that carries this code lies, so
 * that what is installed beside it is found wherever the tree has been moved
 * to. Functions return 0 or a negative errno. */
#ifndef TL_PLACE_H
#define TL_PLACE_H

#include <stddef.h>

/* Writes the path of the file that the code or data at 'address' was loaded
 * from, the real one behind all links, as the kernel knows it. -ENOENT: none;
 * -ENAMETOOLONG: it has 'size' bytes or more. A file that has been replaced
 * since has " (deleted)" behind its name. */
int os_file_of(const void *address, char *path, size_t size);

/* Lets what is loaded from now on see the symbols of the loaded library 'path'
 * and of the libraries it needs, also when whoever loaded it had asked to keep
 * them private. Does nothing for a program, whose symbols are seen. */
void os_publish_library(const char *path);

#endif
