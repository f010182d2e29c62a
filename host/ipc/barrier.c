/* barrier.c - a barrier between processes: see the header.
 *
 * As bindings/barrier.c: who comes while the action runs waits at the entrance;
 * whatever breaks or resets the barrier meanwhile breaks the pass that the
 * action belongs to. */
#include "barrier.h"

#include <errno.h>
#include <limits.h>

#define KIND 0x62617272 /* "barr" */

/* How a record stands: that of a process, or of a thread that waits, or whose
 * wait has ended with an index (from PASSED on). */
enum { FREE, PROCESS, WAITING, ENTERING, ENTER, BROKEN, PASSED };

static ipc_barrier_record *next_record(ipc_barrier_memory *m, unsigned *i) {
  while (*i < m->used) {
    ipc_barrier_record *r = &m->records[(*i)++];
    if (atomic_load(&r->who) != 0) return r;
  }
  return NULL;
}

/* --- Ends of waits -------------------------------------------------------- */

static void tell(ipc_barrier_record *r, unsigned standing) {
  atomic_store(&r->standing, standing);
  os_shared_wake(&r->standing, INT_MAX);
}

static void turn_out(ipc_barrier_memory *m) {
  ipc_barrier_record *r;
  for (unsigned i = 0; (r = next_record(m, &i)) != NULL;)
    if (atomic_load(&r->standing) == WAITING) tell(r, BROKEN);
  atomic_store(&m->waiting, 0);
  if (atomic_load(&m->acting)) atomic_store(&m->spoiled, true);
}

static void open_entrance(ipc_barrier_memory *m) {
  ipc_barrier_record *r;
  for (unsigned i = 0; (r = next_record(m, &i)) != NULL;)
    if (atomic_load(&r->standing) == ENTERING) tell(r, ENTER);
}

static void break_barrier(ipc_barrier_memory *m) {
  atomic_store(&m->broken, true);
  turn_out(m);
  open_entrance(m);
}

/* The oldest that waits. */
static ipc_barrier_record *first_waiting(ipc_barrier_memory *m) {
  ipc_barrier_record *first = NULL, *r;
  for (unsigned i = 0; (r = next_record(m, &i)) != NULL;)
    if (atomic_load(&r->standing) == WAITING &&
        (!first || r->ticket < first->ticket))
      first = r;
  return first;
}

/* Lets everybody pass; returns the caller's index, the last. */
static uint32_t let_pass(ipc_barrier_memory *m) {
  uint32_t index = 0;
  ipc_barrier_record *r;
  atomic_store(&m->waiting, 0);
  while ((r = first_waiting(m)) != NULL)
    tell(r, PASSED + index++);
  return index;
}

/* --- Records -------------------------------------------------------------- */

static int add_record(ipc_barrier_memory *m, unsigned standing) {
  unsigned i = 0;
  while (i < m->used && atomic_load(&m->records[i].who) != 0)
    i++;
  if (i == IPC_BARRIER_RECORDS) return -ENOSPC;
  ipc_barrier_record *r = &m->records[i];
  r->ticket = m->next_ticket++;
  atomic_store(&r->resets, atomic_load(&m->resets));
  atomic_store(&r->standing, standing);
  atomic_store(&r->who, ipc_self());
  if (i == m->used) m->used = i + 1;
  return (int)i;
}

static void drop_record(ipc_barrier_record *r) {
  atomic_store(&r->standing, FREE);
  atomic_store(&r->who, 0);
}

/* Takes the dead's records away; true if one of them spoils what is now. */
static bool bury_dead(ipc_barrier_memory *m) {
  bool spoils = false;
  ipc_barrier_record *r;
  for (unsigned i = 0; (r = next_record(m, &i)) != NULL;) {
    if (ipc_alive(atomic_load(&r->who))) continue;
    unsigned standing = atomic_load(&r->standing);
    spoils = spoils || standing == WAITING ||
             (standing == PROCESS &&
              atomic_load(&r->resets) == atomic_load(&m->resets));
    drop_record(r);
  }
  ipc_id actor = atomic_load(&m->actor);
  if (atomic_load(&m->acting) && !ipc_alive(actor)) {
    atomic_store(&m->acting, false);
    atomic_store(&m->actor, 0);
    spoils = spoils || !atomic_load(&m->spoiled);
    open_entrance(m);
  }
  return spoils;
}

/* Its process ends in order: what it has taken part in counts no more. One that
 * waits or acts at its own end is as good as dead. Without the guard, for this
 * may be a finalizer: nobody else writes the record of a living process. */
static void leave(ipc_member *member) {
  ipc_barrier *b = (ipc_barrier *)(void *)member;
  drop_record(&b->memory->records[b->record]);
}

static bool take_part(ipc_barrier *b) {
  ipc_barrier_memory *m = b->memory;
  if (ipc_has_joined(&b->member)) {
    atomic_store(&m->records[b->record].resets, atomic_load(&m->resets));
    return true;
  }
  int record = add_record(m, PROCESS);
  if (record < 0) return false;
  b->record = record;
  ipc_join(&b->member, leave);
  return true;
}

/* --- The guard ------------------------------------------------------------ */

ipc_outcome ipc_barrier_guard(ipc_barrier *b, ipc_wait *w) {
  int64_t looked = 0;
  ipc_outcome outcome = ipc_lockword_try(&b->memory->guard, w, &looked);
  if (outcome != IPC_DIED) return outcome;
  break_barrier(b->memory); /* whoever died has left things half done */
  return IPC_TAKEN;
}

void ipc_barrier_unguard(ipc_barrier *b) {
  ipc_lockword_release(&b->memory->guard);
}

/* --- Waiting -------------------------------------------------------------- */

static ipc_outcome wait_as(ipc_barrier_memory *m, unsigned standing,
                           int *record) {
  *record = add_record(m, standing);
  return *record < 0 ? IPC_FULL : IPC_BUSY;
}

ipc_outcome ipc_barrier_arrive(ipc_barrier *b, bool acts, int *record,
                               uint32_t *index) {
  ipc_barrier_memory *m = b->memory;
  if (atomic_load(&m->broken)) return IPC_BROKEN;
  if (!take_part(b)) return IPC_FULL;
  if (atomic_load(&m->acting)) return wait_as(m, ENTERING, record);
  if (atomic_load(&m->waiting) + 1 < m->parties) {
    ipc_outcome outcome = wait_as(m, WAITING, record);
    if (outcome == IPC_BUSY) atomic_fetch_add(&m->waiting, 1);
    return outcome;
  }
  if (bury_dead(m)) { /* who waits may be dead */
    break_barrier(m);
    return IPC_BROKEN;
  }
  if (!acts) {
    *index = let_pass(m);
    return IPC_TAKEN;
  }
  atomic_store(&m->waiting, 0);
  atomic_store(&m->spoiled, false);
  atomic_store(&m->actor, ipc_self());
  atomic_store(&m->acting, true);
  return IPC_ACT;
}

bool ipc_barrier_acted(ipc_barrier *b, bool well, uint32_t *index) {
  ipc_barrier_memory *m = b->memory;
  bool spoiled = atomic_load(&m->spoiled);
  atomic_store(&m->acting, false);
  atomic_store(&m->actor, 0);
  if (!well && !spoiled) break_barrier(m);
  open_entrance(m);
  if (!well || spoiled) return false;
  *index = let_pass(m);
  return true;
}

ipc_outcome ipc_barrier_try(ipc_barrier *b, int record, ipc_wait *w,
                            bool *wants_guard) {
  ipc_barrier_record *r = &b->memory->records[record];
  unsigned standing = atomic_load(&r->standing);
  *wants_guard = false;
  if (standing != WAITING && standing != ENTERING) return IPC_TAKEN;
  *wants_guard = w->look;
  w->look = false;
  w->word = &r->standing;
  w->seen = standing;
  return IPC_BUSY;
}

void ipc_barrier_look(ipc_barrier *b) {
  if (bury_dead(b->memory)) break_barrier(b->memory);
}

ipc_outcome ipc_barrier_end(ipc_barrier *b, int record, bool late,
                            uint32_t *index) {
  ipc_barrier_memory *m = b->memory;
  ipc_barrier_record *r = &m->records[record];
  unsigned standing = atomic_load(&r->standing);
  bool waits = standing == WAITING || standing == ENTERING;
  drop_record(r);
  if (waits && late) {
    break_barrier(m);
    return IPC_BROKEN;
  }
  if (standing == WAITING && !atomic_load(&m->acting))
    atomic_fetch_sub(&m->waiting, 1);
  if (waits) return IPC_BUSY;
  if (standing == ENTER) return IPC_ACT;
  if (standing == BROKEN) return IPC_BROKEN;
  *index = standing - PASSED;
  return IPC_TAKEN;
}

void ipc_barrier_abort(ipc_barrier *b) {
  break_barrier(b->memory);
}

void ipc_barrier_reset(ipc_barrier *b) {
  ipc_barrier_memory *m = b->memory;
  atomic_fetch_add(&m->resets, 1);
  turn_out(m);
  bury_dead(m);
  atomic_store(&m->broken, false);
}

bool ipc_barrier_is_broken(const ipc_barrier *b) {
  return atomic_load(&b->memory->broken);
}

uint32_t ipc_barrier_waiting(const ipc_barrier *b) {
  return atomic_load(&b->memory->waiting);
}

/* --- Objects -------------------------------------------------------------- */

int ipc_barrier_create(ipc_barrier *b, uint32_t parties) {
  *b = (ipc_barrier){.segment.fd = -1};
  int err =
      os_segment_create(&b->segment, "tidelock-barrier", sizeof *b->memory);
  if (err) return err;
  b->memory = b->segment.memory;
  b->memory->parties = parties;
  b->memory->kind = KIND;
  return 0;
}

int ipc_barrier_open(ipc_barrier *b, int fd) {
  *b = (ipc_barrier){.segment.fd = -1};
  int err = os_segment_open(&b->segment, fd, sizeof *b->memory);
  if (err) return err;
  b->memory = b->segment.memory;
  if (b->memory->kind == KIND) return 0;
  ipc_barrier_close(b);
  return -EINVAL;
}

void ipc_barrier_close(ipc_barrier *b) {
  ipc_leave(&b->member);
  os_segment_close(&b->segment);
  b->memory = NULL;
}
