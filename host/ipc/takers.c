/* takers.c - see takers.h. */
#include "ipc/takers.h"

#include <stddef.h>

/* Whether 'who' is nobody, or has died without a task. */
static bool is_free(const struct ipc_taker *e, ipc_id who) {
  if (who == 0) return true;
  return atomic_load(&e->open) == 0 && atomic_load(&e->current) == 0 &&
         !ipc_alive(who);
}

static struct ipc_taker *claim(ipc_takers *t, uint32_t *place) {
  for (uint32_t i = 0; i < IPC_TAKERS; i++) {
    struct ipc_taker *e = &t->of[i];
    ipc_id who = atomic_load(&e->who);
    if (!is_free(e, who)) continue;
    if (!atomic_compare_exchange_strong(&e->who, &who, ipc_self())) continue;
    *place = i;
    return e;
  }
  return NULL;
}

struct ipc_taker *ipc_takers_mine(ipc_takers *t, uint32_t *place) {
  struct ipc_taker *e = &t->of[*place];
  if (atomic_load(&e->who) == ipc_self()) return e;
  for (uint32_t i = 0; i < IPC_TAKERS; i++) {
    if (atomic_load(&t->of[i].who) != ipc_self()) continue;
    *place = i;
    return &t->of[i];
  }
  return claim(t, place);
}

/* Whether the task that it was taking is gone from the queue. */
static bool has_taken(uint32_t current, uint32_t taken) {
  const uint32_t mask = (1 << 24) - 1, half = 1 << 23;
  return current != 0 && ((taken - current) & mask) < half;
}

uint32_t ipc_takers_settle(ipc_takers *t, uint32_t taken, atomic_uint *done) {
  uint32_t lost = 0;
  for (struct ipc_taker *e = t->of; e < t->of + IPC_TAKERS; e++) {
    ipc_id who = atomic_load(&e->who);
    if (who == 0 || who == ipc_self() || ipc_alive(who)) continue;
    if (!atomic_compare_exchange_strong(&e->who, &who, ipc_self())) continue;
    uint32_t n = atomic_load(&e->open);
    if (has_taken(atomic_load(&e->current), taken)) n++;
    atomic_fetch_add(done, n);
    lost += n;
    atomic_store(&e->open, 0);
    atomic_store(&e->current, 0);
    atomic_store(&e->who, 0);
  }
  return lost;
}
