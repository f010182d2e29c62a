/* annot.h - what clang's thread-safety analysis is told about the GIL.
 *
 * TL_GIL on a function: its caller is attached to an interpreter, that is, it
 * holds that interpreter's GIL. TL_NO_GIL: its caller must not, since the
 * function may block. Nothing: it touches no Lua and does not block. The role
 * is one static capability whichever interpreter's lock it is. Other
 * compilers see empty macros. */
#ifndef TL_ANNOT_H
#define TL_ANNOT_H

#if defined(__clang__)
#define TL_TSA(x) __attribute__((x))
#else
#define TL_TSA(x)
#endif

typedef struct TL_TSA(capability("GIL")) tl_role {
  char unused;
} tl_role;

extern tl_role tl_attached; /* never read: only the analysis knows it */

#define TL_GIL TL_TSA(requires_capability(tl_attached))
#define TL_NO_GIL TL_TSA(locks_excluded(tl_attached))
#define TL_GIL_GAIN TL_TSA(acquire_capability(tl_attached))
#define TL_GIL_LOSE TL_TSA(release_capability(tl_attached))
#define TL_UNCHECKED TL_TSA(no_thread_safety_analysis)

/* In the place of 'inline', where the compiler would make a call of it that is
 * a good part of the work. */
#define tl_inline inline __attribute__((always_inline))

#define tl_likely(x) __builtin_expect(!!(x), 1)
#define tl_unlikely(x) __builtin_expect(!!(x), 0)

#endif
