/* condition.c - waiters between processes: see the header. */
#include "condition.h"

#include <errno.h>

#define KIND 0x636f6e64 /* "cond" */

/* state: how it stands, and above it the ticket; of a notified one instead the
 * first ticket that was not given out when it was notified. */
enum { FREE, WAITING, NOTIFIED, STANDING = 3 };
#define TICKET_SHIFT 2
#define NO_TICKET UINT64_MAX

static unsigned used_of(ipc_condition_memory *m) {
  unsigned used = atomic_load(&m->used);
  return used < IPC_CONDITION_WAITERS ? used : IPC_CONDITION_WAITERS;
}

/* Lets the oldest with a ticket below 'limit' go on; false if there is none. */
static bool notify_one(ipc_condition_memory *m, uint64_t limit) {
  for (;;) {
    ipc_waiter *oldest = NULL;
    uint64_t least = limit << TICKET_SHIFT | FREE;
    for (unsigned i = 0, n = used_of(m); i < n; i++) {
      uint64_t state = atomic_load(&m->waiters[i].state);
      if ((state & STANDING) != WAITING || state >= least) continue;
      least = state;
      oldest = &m->waiters[i];
    }
    if (!oldest) return false;
    uint64_t next = limit << TICKET_SHIFT | NOTIFIED;
    if (!atomic_compare_exchange_strong(&oldest->state, &least, next))
      continue; /* it left */
    os_shared_wake(ipc_low_half(&oldest->state), 1);
    return true;
  }
}

/* The record's owner, or whoever took it over. */
static void free_record(ipc_waiter *r) {
  atomic_store(&r->state, FREE);
  atomic_store(&r->who, 0);
}

/* Takes the record over if its process has died; a notification passes on. */
static bool take_over(ipc_condition_memory *m, ipc_waiter *r) {
  ipc_id who = atomic_load(&r->who);
  if (who == 0 || ipc_alive(who) ||
      !atomic_compare_exchange_strong(&r->who, &who, ipc_self()))
    return false;
  uint64_t state = atomic_load(&r->state);
  while ((state & STANDING) == WAITING &&
         !atomic_compare_exchange_strong(&r->state, &state, FREE)) {
  }
  if ((state & STANDING) == NOTIFIED) notify_one(m, state >> TICKET_SHIFT);
  atomic_store(&r->state, FREE);
  return true;
}

static void settle_dead(ipc_condition_memory *m) {
  for (unsigned i = 0, n = used_of(m); i < n; i++)
    if (take_over(m, &m->waiters[i])) free_record(&m->waiters[i]);
}

static bool claim(ipc_waiter *r) {
  ipc_id nobody = 0;
  return atomic_load(&r->who) == 0 &&
         atomic_compare_exchange_strong(&r->who, &nobody, ipc_self());
}

static int find_record(ipc_condition_memory *m) {
  for (int i = 0; i < IPC_CONDITION_WAITERS; i++)
    if (claim(&m->waiters[i])) return i;
  for (int i = 0; i < IPC_CONDITION_WAITERS; i++)
    if (take_over(m, &m->waiters[i])) return i;
  return -ENOSPC;
}

int ipc_condition_enter(ipc_condition *c) {
  ipc_condition_memory *m = c->memory;
  int i = find_record(m);
  if (i < 0) return i;
  unsigned used = atomic_load(&m->used);
  while (used <= (unsigned)i &&
         !atomic_compare_exchange_strong(&m->used, &used, (unsigned)i + 1)) {
  }
  uint64_t ticket = atomic_fetch_add(&m->next_ticket, 1);
  atomic_store(&m->waiters[i].state, ticket << TICKET_SHIFT | WAITING);
  return i;
}

ipc_outcome ipc_condition_try(ipc_condition *c, int record, ipc_wait *w) {
  ipc_waiter *r = &c->memory->waiters[record];
  if (w->look) settle_dead(c->memory);
  w->look = false;
  uint64_t state = atomic_load(&r->state);
  if ((state & STANDING) == NOTIFIED) return IPC_TAKEN;
  w->word = ipc_low_half(&r->state);
  w->seen = (unsigned)state;
  return IPC_BUSY;
}

bool ipc_condition_leave(ipc_condition *c, int record) {
  ipc_waiter *r = &c->memory->waiters[record];
  uint64_t state = atomic_load(&r->state);
  while ((state & STANDING) == WAITING &&
         !atomic_compare_exchange_strong(&r->state, &state, FREE)) {
  }
  free_record(r);
  return (state & STANDING) == NOTIFIED;
}

void ipc_condition_notify(ipc_condition *c, uint64_t n) {
  uint64_t limit = atomic_load(&c->memory->next_ticket);
  while (n > 0 && notify_one(c->memory, limit))
    n--;
}

int ipc_condition_count(ipc_condition *c) {
  ipc_condition_memory *m = c->memory;
  int count = 0;
  for (unsigned i = 0, n = used_of(m); i < n; i++)
    count += (atomic_load(&m->waiters[i].state) & STANDING) == WAITING;
  return count;
}

int ipc_condition_create(ipc_condition *c) {
  *c = (ipc_condition){.segment.fd = -1};
  int err =
      os_segment_create(&c->segment, "tidelock-condition", sizeof *c->memory);
  if (err) return err;
  c->memory = c->segment.memory;
  c->memory->kind = KIND;
  return 0;
}

int ipc_condition_open(ipc_condition *c, int fd) {
  *c = (ipc_condition){.segment.fd = -1};
  int err = os_segment_open(&c->segment, fd, sizeof *c->memory);
  if (err) return err;
  c->memory = c->segment.memory;
  if (c->memory->kind == KIND) return 0;
  ipc_condition_close(c);
  return -EINVAL;
}

void ipc_condition_close(ipc_condition *c) {
  os_segment_close(&c->segment);
  c->memory = NULL;
}
