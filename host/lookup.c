/* lookup.c - addresses of names. */
#include "lookup.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os.h"

struct os_lookup {
  atomic_int owners; /* the caller, the thread */
  int wake;          /* const: the descriptor; -1: the answer is there */
  atomic_bool told;  /* the thread is done with these: */
  int error, err;
  struct addrinfo *list, hints;
  char port[8]; /* const */
  char host[];  /* const */
};

enum { STACK = 1024 * 1024 }; /* bytes: what the resolver's modules may need */

void os_lookup_drop(os_lookup *l) {
  if (!l || atomic_fetch_sub(&l->owners, 1) > 1) return;
  if (l->list) freeaddrinfo(l->list);
  os_close(l->wake);
  free(l);
}

static void ask(os_lookup *l) {
  const char *host = l->host[0] != '\0' ? l->host : NULL;
  l->error = getaddrinfo(host, l->port, &l->hints, &l->list);
  l->err = errno;
  atomic_store(&l->told, true);
}

static void *body(void *arg) {
  os_lookup *l = arg;
  ask(l);
  os_wakefd_set(l->wake);
  os_lookup_drop(l);
  return NULL;
}

static int ask_elsewhere(os_lookup *l) {
  os_thread thread;
  l->wake = os_wakefd_open();
  if (l->wake < 0) return l->wake;
  l->hints.ai_flags &= ~AI_NUMERICHOST;
  atomic_store(&l->told, false); /* that it is no number is no answer */
  atomic_store(&l->owners, 2);
  int err = os_thread_start(&thread, STACK, 0, body, l);
  if (err)
    atomic_store(&l->owners, 1);
  else
    pthread_detach(thread);
  return err;
}

int os_lookup_start(os_lookup **result, const char *host, int port, int family,
                    int flags) {
  size_t length = host ? strlen(host) : 0;
  os_lookup *l = calloc(1, sizeof *l + length + 1);
  if (!l) return -ENOMEM;
  atomic_init(&l->owners, 1);
  l->wake = -1;
  l->hints = (struct addrinfo){.ai_flags = flags | AI_NUMERICHOST,
                               .ai_family = family,
                               .ai_socktype = SOCK_STREAM};
  if (host) memcpy(l->host, host, length + 1);
  snprintf(l->port, sizeof l->port, "%d", port & 0xffff);
  ask(l);
  int err = 0;
  if (l->error == EAI_NONAME && length > 0) err = ask_elsewhere(l);
  if (err) {
    os_lookup_drop(l);
    return err;
  }
  *result = l;
  return 0;
}

int os_lookup_fd(const os_lookup *l) {
  return l->wake;
}

int os_lookup_answer(const os_lookup *l, const struct addrinfo **list,
                     int *err) {
  if (!atomic_load(&l->told)) return EAI_AGAIN;
  *list = l->list;
  *err = l->err;
  return l->error;
}
