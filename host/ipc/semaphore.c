/* semaphore.c - permits between processes: see the header. */
#include "semaphore.h"

#include <errno.h>

#define KIND 0x73656d61 /* "sema" */
enum { SLEEPERS = 1, RESERVE = 2 };

/* state: value (32 bits), slot (10), number (22); held, intent: permits (32),
 * number. Numbers start again after 2^22 changes of a slot: what a late process
 * compares would have to be that old to the change. A process that nobody has
 * acknowledged for FRESH changes lets 'acked' be far from its numbers. */
#define NUMBER_BITS 22
#define FRESH (1U << (NUMBER_BITS - 2))
#define NUMBER_MASK ((1U << NUMBER_BITS) - 1)
#define NOBODY IPC_SEMAPHORE_SLOTS

static uint64_t pack_state(uint32_t value, int slot, uint32_t number) {
  return value | (uint64_t)slot << 32 | (uint64_t)number << (64 - NUMBER_BITS);
}

static int slot_of(uint64_t state) {
  return (int)(state >> 32 & ((1U << (32 - NUMBER_BITS)) - 1));
}

static uint32_t changed_by(uint64_t state) {
  return (uint32_t)(state >> (64 - NUMBER_BITS));
}

static uint64_t pack_held(uint32_t permits, uint32_t number) {
  return permits | (uint64_t)number << 32;
}

static uint32_t permits_of(uint64_t held) {
  return (uint32_t)held;
}

static uint32_t number_of(uint64_t held) {
  return (uint32_t)(held >> 32);
}

/* --- Changes -------------------------------------------------------------- */

/* Notes that the change that 'seen' tells of was made. A late process, for
 * which 'seen' is the past, swaps nothing: 'acked' has moved on, or its number
 * is not asked for any more. */
static void acknowledge(ipc_semaphore_memory *m, uint64_t seen, int slot) {
  int other = slot_of(seen);
  if (other == slot || other == NOBODY) return;
  uint32_t number = changed_by(seen);
  unsigned acked = atomic_load(&m->slots[other].acked);
  while (
      acked != number && atomic_load(&m->state) == seen &&
      !atomic_compare_exchange_strong(&m->slots[other].acked, &acked, number)) {
  }
}

/* The value changes by 'by', what the slot holds becomes 'held'. 0, -EAGAIN if
 * the value would be negative, -EOVERFLOW: more than the most, unless 'cut'. */
static int change(ipc_semaphore_memory *m, int slot, int64_t by, uint32_t held,
                  bool cut) {
  ipc_slot *mine = &m->slots[slot];
  uint64_t before = atomic_load_explicit(&mine->held, memory_order_relaxed);
  uint32_t number = (number_of(before) + 1) & NUMBER_MASK;
  if (number % FRESH == 0) atomic_store(&mine->acked, number ^ 2 * FRESH);
  atomic_store_explicit(&mine->intent, pack_held(held, number),
                        memory_order_release);
  uint64_t seen = atomic_load(&m->state), next;
  do {
    int64_t value = (int64_t)(uint32_t)seen + by;
    if (value < 0) return -EAGAIN;
    if (value > m->most) {
      if (!cut) return -EOVERFLOW;
      value = m->most;
    }
    acknowledge(m, seen, slot);
    next = pack_state((uint32_t)value, slot, number);
  } while (!atomic_compare_exchange_strong(&m->state, &seen, next));
  atomic_store_explicit(&mine->held, pack_held(held, number),
                        memory_order_release);
  return 0;
}

static void wake(ipc_semaphore_memory *m, uint32_t n) {
  if (!atomic_load(&m->waiting)) return;
  atomic_fetch_and(&m->waiting, ~(unsigned)SLEEPERS);
  os_shared_wake(&m->waiting, n > INT32_MAX ? INT32_MAX : (int)n);
}

/* --- Slots ---------------------------------------------------------------- */

/* Ends, for the slot's dead process, the change that it was in the middle of.
 * The word is looked at first: it loses its trace only after 'acked' has it. */
static uint32_t finish_change(ipc_semaphore_memory *m, int slot) {
  ipc_slot *s = &m->slots[slot];
  uint64_t held = atomic_load(&s->held), intent = atomic_load(&s->intent);
  uint32_t number = number_of(intent);
  if (number == number_of(held)) return permits_of(held);
  uint64_t state = atomic_load(&m->state);
  bool made = (slot_of(state) == slot && changed_by(state) == number) ||
              atomic_load(&s->acked) == number;
  if (!made) return permits_of(held);
  atomic_store(&s->held, intent);
  return permits_of(intent);
}

/* Takes over the slot if its process has died, and gives back what it held;
 * true then, and the slot is the caller's. */
static bool take_over(ipc_semaphore_memory *m, int slot) {
  ipc_slot *s = &m->slots[slot];
  ipc_id who = atomic_load(&s->who);
  if (who == 0 || ipc_alive(who) ||
      !atomic_compare_exchange_strong(&s->who, &who, ipc_self()))
    return false;
  uint32_t permits = finish_change(m, slot);
  if (permits == 0) return true;
  change(m, slot, permits, 0, true);
  wake(m, permits);
  return true;
}

/* The slot holds nothing. */
static void free_slot(ipc_slot *s) {
  atomic_store(&s->who, 0);
}

/* Gives back what the dead held; true if there was something. */
static bool settle_dead(ipc_semaphore_memory *m) {
  bool settled = false;
  unsigned used = atomic_load(&m->used);
  for (unsigned i = 0; i < used && i < IPC_SEMAPHORE_SLOTS; i++) {
    ipc_slot *s = &m->slots[i];
    uint64_t held = atomic_load(&s->held);
    if (permits_of(held) == 0 && atomic_load(&s->intent) == held) continue;
    if (!take_over(m, (int)i)) continue;
    free_slot(s);
    settled = true;
  }
  return settled;
}

static bool claim(ipc_semaphore_memory *m, int slot) {
  ipc_id nobody = 0;
  return atomic_load(&m->slots[slot].who) == 0 &&
         atomic_compare_exchange_strong(&m->slots[slot].who, &nobody,
                                        ipc_self());
}

/* A slot for this process; a dead one's if no other is free. */
static int find_slot(ipc_semaphore_memory *m) {
  for (int i = 0; i < IPC_SEMAPHORE_SLOTS; i++)
    if (claim(m, i)) return i;
  for (int i = 0; i < IPC_SEMAPHORE_SLOTS; i++)
    if (take_over(m, i)) return i;
  return -ENOSPC;
}

static void leave(ipc_member *member) {
  ipc_semaphore *s = (ipc_semaphore *)(void *)member;
  ipc_slot *mine = &s->memory->slots[s->slot];
  uint64_t held = atomic_load(&mine->held);
  atomic_store(&mine->held, pack_held(0, number_of(held)));
  atomic_store(&mine->intent, pack_held(0, number_of(held)));
  free_slot(mine);
}

static inline bool has_joined(ipc_semaphore *s) {
  return ipc_has_joined(&s->member);
}

static bool join(ipc_semaphore *s) {
  if (has_joined(s)) return true;
  ipc_semaphore_memory *m = s->memory;
  int slot = find_slot(m);
  if (slot < 0) return false;
  unsigned used = atomic_load(&m->used);
  while (used <= (unsigned)slot &&
         !atomic_compare_exchange_strong(&m->used, &used, (unsigned)slot + 1)) {
  }
  s->slot = slot;
  ipc_join(&s->member, leave);
  return true;
}

static uint32_t held_by(const ipc_semaphore *s) {
  return permits_of(atomic_load_explicit(&s->memory->slots[s->slot].held,
                                         memory_order_relaxed));
}

/* --- Permits -------------------------------------------------------------- */

/* Who has slept takes one as if others still slept: a wake-up tells one only,
 * and the mark that there are more is gone. */
static bool take(ipc_semaphore *s, const ipc_wait *w) {
  ipc_semaphore_memory *m = s->memory;
  unsigned waiting = atomic_load(&m->waiting);
  if ((waiting & RESERVE) && !w->slept && !w->last) return false;
  if (w->slept) atomic_fetch_or(&m->waiting, SLEEPERS);
  if ((uint32_t)atomic_load(&m->state) == 0 ||
      change(m, s->slot, -1, held_by(s) + 1, false) < 0)
    return false;
  if (!w->slept) return true;
  atomic_fetch_and(&m->waiting, ~(unsigned)RESERVE);
  if ((uint32_t)atomic_load(&m->state) > 0) wake(m, 1);
  return true;
}

ipc_outcome ipc_semaphore_try(ipc_semaphore *s, ipc_wait *w) {
  ipc_semaphore_memory *m = s->memory;
  if (!join(s)) return IPC_FULL;
  for (;;) {
    if (take(s, w)) return IPC_TAKEN;
    if (ipc_wait_looks(w, &s->looked) && settle_dead(m)) continue;
    if (w->last) return IPC_BUSY;
    unsigned flags = SLEEPERS | (w->patient ? RESERVE : 0);
    w->word = &m->waiting;
    w->seen = atomic_fetch_or(&m->waiting, flags) | flags;
    bool may_take = w->slept || !(w->seen & RESERVE);
    if (!may_take || (uint32_t)atomic_load(&m->state) == 0) return IPC_BUSY;
  }
}

void ipc_semaphore_quit(ipc_semaphore *s) {
  ipc_semaphore_memory *m = s->memory;
  atomic_fetch_or(&m->waiting, SLEEPERS);
  atomic_fetch_and(&m->waiting, ~(unsigned)RESERVE);
  if ((uint32_t)atomic_load(&m->state) > 0) wake(m, 1);
}

int ipc_semaphore_release(ipc_semaphore *s, uint32_t n) {
  if (!join(s)) return -ENOSPC;
  uint32_t held = held_by(s);
  int err = change(s->memory, s->slot, n, held > n ? held - n : 0, false);
  if (!err) wake(s->memory, n);
  return err;
}

uint32_t ipc_semaphore_value(ipc_semaphore *s) {
  settle_dead(s->memory);
  return (uint32_t)atomic_load(&s->memory->state);
}

/* --- Objects -------------------------------------------------------------- */

int ipc_semaphore_create(ipc_semaphore *s, uint32_t value, uint32_t most) {
  *s = (ipc_semaphore){.segment.fd = -1};
  int err =
      os_segment_create(&s->segment, "tidelock-semaphore", sizeof *s->memory);
  if (err) return err;
  s->memory = s->segment.memory;
  s->memory->most = most;
  atomic_store(&s->memory->state, pack_state(value, NOBODY, 0));
  s->memory->kind = KIND;
  return 0;
}

int ipc_semaphore_open(ipc_semaphore *s, int fd) {
  *s = (ipc_semaphore){.segment.fd = -1};
  int err = os_segment_open(&s->segment, fd, sizeof *s->memory);
  if (err) return err;
  s->memory = s->segment.memory;
  if (s->memory->kind == KIND) return 0;
  ipc_semaphore_close(s);
  return -EINVAL;
}

void ipc_semaphore_close(ipc_semaphore *s) {
  ipc_leave(&s->member);
  os_segment_close(&s->segment);
  s->memory = NULL;
}
