/* users.h - how many threads of this process are inside something that must
 * stay open meanwhile. A fork leaves the others behind: its child has none. */
#ifndef TL_USERS_H
#define TL_USERS_H

#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>

/* Zeroed memory has no users. */
typedef struct tl_users {
  int n;         /* GIL */
  pid_t process; /* GIL: whose threads they are */
} tl_users;

static inline bool tl_users_any(const tl_users *u) {
  return u->n > 0 && u->process == getpid();
}

static inline void tl_users_enter(tl_users *u) {
  pid_t self = getpid();
  if (u->process != self) u->n = 0;
  u->process = self;
  u->n++;
}

static inline void tl_users_leave(tl_users *u) {
  u->n--;
}

#endif
