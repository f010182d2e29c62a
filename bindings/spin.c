/* spin.c - see spin.h.
 *
 * Who has just been given something to do often answers sooner than a sleeper
 * is woken. Two that speak in turn both wait busily then, and neither sleeps:
 * a round trip over a pipe takes 12 us, in C with reads that sleep 110. With
 * 15 us in the place of 100 they often did not find into this rhythm, for who
 * sleeps already has to be woken to answer. */
#include "spin.h"

#include "os.h"
#include "runtime.h"

#define SPIN 100000 /* ns: what it takes to wake a sleeper who answers */
#define LUCKIEST 8
#define LEFT_OUT 16

void spin_until(Spinner *s, int64_t deadline, bool (*ready)(const void *),
                const void *object) {
  tl_thread *t = bind_thread();
  tl_gil *gil = &t->interp->gil;
  if (!gil->may_spin || tl_gil_has_waiters(gil)) return;
  if (s->luck < 0 && ++s->luck < 0) return;
  tl_block_begin(t, NULL);
  int64_t until = os_now() + SPIN;
  if (deadline < until) until = deadline;
  bool is_ready;
  do {
    for (int i = 0; i < 20; i++)
      os_cpu_relax();
    is_ready = ready(object);
  } while (!is_ready && os_now() < until);
  tl_block_end(t);
  if (!is_ready)
    s->luck = s->luck > 1 ? s->luck - 1 : -LEFT_OUT;
  else if (s->luck < LUCKIEST)
    s->luck++;
}
