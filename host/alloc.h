/* alloc.h - the allocator of one interpreter: size classes under lua_Alloc.
 * Its lock is the GIL. Counts and limits memory. Knows no Lua: lua_Alloc's
 * type is repeated. */
#ifndef TL_ALLOC_H
#define TL_ALLOC_H

#include <stddef.h>

#define TL_ALLOC_STEP 16
#define TL_ALLOC_LARGEST 512 /* bytes; what is larger is malloc's */
#define TL_ALLOC_CLASSES (TL_ALLOC_LARGEST / TL_ALLOC_STEP)

typedef struct tl_alloc {
  void *free[TL_ALLOC_CLASSES]; /* blocks of each class, linked */
  char *fresh, *fresh_end;      /* never used yet */
  void *chunks;                 /* all chunks, linked */
  size_t chunk_size;            /* of the next one */
  size_t used;                  /* bytes that Lua holds */
  size_t limit;                 /* bytes it may hold; 0 no limit */
} tl_alloc;

/* Zeroed memory is a valid empty allocator. */
void tl_alloc_destroy(tl_alloc *a); /* frees every chunk */

/* As lua_Alloc; ud is a tl_alloc. */
void *tl_alloc_run(void *ud, void *block, size_t osize, size_t nsize);

#endif
