/* event.c - a flag between processes: see the header. */
#include "event.h"

#include <errno.h>
#include <limits.h>

#define KIND 0x65766e74 /* "evnt" */
enum { SET = 1, GENERATION = 2 };

void ipc_event_set(ipc_event *e) {
  atomic_uint *word = &e->memory->word;
  unsigned seen = atomic_load(word);
  do {
    if (seen & SET) return;
  } while (
      !atomic_compare_exchange_strong(word, &seen, (seen + GENERATION) | SET));
  os_shared_wake(word, INT_MAX);
}

void ipc_event_clear(ipc_event *e) {
  atomic_fetch_and(&e->memory->word, ~(unsigned)SET);
}

bool ipc_event_is_set(const ipc_event *e) {
  return atomic_load(&e->memory->word) & SET;
}

ipc_outcome ipc_event_try(ipc_event *e, ipc_wait *w) {
  unsigned word = atomic_load(&e->memory->word);
  if (w->since == 0) w->mark = word;
  if ((word & SET) || word != w->mark) return IPC_TAKEN;
  w->word = &e->memory->word;
  w->seen = word;
  return IPC_BUSY;
}

int ipc_event_create(ipc_event *e, ipc_arena *a) {
  *e = (ipc_event){0};
  int err = ipc_arena_cut(a, sizeof *e->memory, &e->block);
  if (err) return err;
  e->memory = (ipc_event_memory *)(void *)e->block.memory;
  e->memory->kind = KIND;
  return 0;
}

int ipc_event_open(ipc_event *e, ipc_arena *a, int fd, size_t offset) {
  *e = (ipc_event){0};
  int err = ipc_arena_open(a, fd, offset, sizeof *e->memory, &e->block);
  if (err) return err;
  e->memory = (ipc_event_memory *)(void *)e->block.memory;
  if (e->memory->kind == KIND) return 0;
  ipc_event_close(e);
  return -EINVAL;
}

void ipc_event_close(ipc_event *e) {
  ipc_block_free(&e->block);
  e->memory = NULL;
}
