/* lookup.h - addresses of names, without Lua.
 *
 * The system's getaddrinfo cannot be interrupted. So a thread of its own asks,
 * and whoever does not want to wait any longer leaves it to itself. */
#ifndef TL_LOOKUP_H
#define TL_LOOKUP_H

#include <netdb.h>

typedef struct os_lookup os_lookup;

/* Begins to look for addresses of streams at 'host' (NULL: of this machine, or
 * with AI_PASSIVE in 'flags' all of it) and 'port', in 'family', which may be
 * AF_UNSPEC. 0 and a lookup, or negative errno. A host in numbers is found at
 * once. */
int os_lookup_start(os_lookup **l, const char *host, int port, int family,
                    int flags);

/* Readable once the answer is there; stays the lookup's. -1: it is there. */
int os_lookup_fd(const os_lookup *l);

/* The answer: 0 and a list, which stays the lookup's; otherwise the error of
 * getaddrinfo (EAI_SYSTEM: *err is the errno), EAI_AGAIN too if the answer is
 * not there yet. */
int os_lookup_answer(const os_lookup *l, const struct addrinfo **list,
                     int *err);

/* Frees it, or leaves that to its thread. NULL: nothing. */
void os_lookup_drop(os_lookup *l);

#endif
