/* gil.h - the lock of one interpreter: at most one member holds it. Knows no
 * Lua: how a running member is asked to give it up is a callback's business.
 *
 * A member is one thread's part in one GIL. Members that wait stand in a
 * queue of three classes; the holder hands the lock over to the one whose
 * turn it is, so nobody is woken for nothing and nobody starves. */
#ifndef TL_GIL_H
#define TL_GIL_H

#include "annot.h"
#include "os.h"

typedef struct tl_gil tl_gil;
typedef struct tl_member tl_member;

/* Why a member waits, in the order in which the fair policy serves them. */
typedef enum tl_gil_class {
  TL_OUTSIDE,   /* back from a wait outside: I/O, sleep, a process */
  TL_WOKEN,     /* woken by another member: a lock, a queue, an event */
  TL_PREEMPTED, /* gave way at a switch point */
  TL_CLASSES
} tl_gil_class;

typedef enum tl_gil_policy { TL_FAIR, TL_CPYTHON } tl_gil_policy;

/* Counters of one member; times in ns. Read under the GIL. */
typedef struct tl_gil_stats {
  uint64_t switches;           /* the holder before was another one */
  uint64_t forced_switches;    /* gave way because a waiter had asked */
  uint64_t voluntary_releases; /* gave it up to wait for something */
  uint64_t acquires;
  uint64_t contended_acquires;  /* those that found it held */
  uint64_t boosts;              /* asked at once, back from outside */
  int64_t wait_time, held_time; /* ns */
} tl_gil_stats;

struct tl_member {
  atomic_uint word;         /* what it sleeps on; bits of gil.c */
  atomic_bool drop_request; /* asked to give way; set under mu */
  atomic_llong asked_at;    /* ns; for as long as drop_request is set */
  tl_gil_class class;       /* mu: why it is, or was last, queued */
  bool queued;              /* mu */
  bool asleep;              /* GIL: parked, nobody has woken it yet */
  atomic_int thread;        /* kernel's id of its thread; 0: not begun */
  atomic_int cpu;           /* where it ran or began to wait: a hint */
  bool bound;               /* gil_cpu.c; mu, its own with the lock */
  os_cpus cpus;             /* the same: where it may run else */
  int spin_rest;            /* own: parks left without a look before */
  int64_t queued_at;        /* mu; ns */
  int64_t acquired_at;      /* the holder's; ns */
  tl_member *next;          /* mu, while queued */
  tl_gil_stats stats;       /* the holder's */
};

struct tl_gil {
  atomic_uintptr_t holder; /* a member, its lowest bit: others wait */
  os_mutex mu;
  struct tl_gil_queue {
    tl_member *first, *last;
  } queues[TL_CLASSES];      /* mu */
  int64_t spared_until;      /* mu: ns, nobody asks at once before */
  int64_t turn_since;        /* mu: ns, begin of the current interval */
  tl_member *last_holder;    /* the holder's */
  atomic_int holder_cpu;     /* gil_cpu.c: where it was taken; a hint */
  atomic_llong interval;     /* ns */
  atomic_int policy;         /* tl_gil_policy */
  bool may_spin;             /* const: several processors */
  void (*ask)(pid_t holder); /* const; called without mu */
  struct tl_gil_ticker {     /* gil_ticker.c */
    os_thread thread;
    atomic_uint word;   /* what it sleeps on */
    bool running;       /* GIL */
    bool resting, stop; /* mu */
  } ticker;
  /* Policy cpython: its two conditions, as counters that are slept on. */
  atomic_uint released, taken;
  int sleepers;      /* mu: how many wait for 'released' */
  uint64_t switches; /* mu */
};

/* 'ask' gets the thread of the member that holds the lock, or did a moment
 * ago, and makes it call tl_gil_yield soon; it may be called again while the
 * request stands. */
int tl_gil_init(tl_gil *g, void (*ask)(pid_t holder));
void tl_gil_destroy(tl_gil *g);

/* A member that has not begun; its memory may be freed once it has given the
 * lock up for good. */
void tl_member_init(tl_member *m);

/* By the member's thread, before it acquires for the first time. */
void tl_member_begin(tl_member *m);

/* Before a second member takes part. 0 or negative errno; repeatable. */
int tl_gil_share(tl_gil *g) TL_GIL;

/* Takes the lock, waiting for it as 'why'. Keeps errno. */
void tl_gil_acquire(tl_gil *g, tl_member *m, tl_gil_class why) TL_GIL_GAIN;

/* Gives it up, to the waiter whose turn it is. Keeps errno. */
void tl_gil_release(tl_gil *g, tl_member *m) TL_GIL_LOSE;

/* Gives way if somebody waits, and takes the lock again. True if it changed
 * hands meanwhile. */
bool tl_gil_yield(tl_gil *g, tl_member *m) TL_GIL;

/* Whether others wait for the lock; a hint. */
bool tl_gil_has_waiters(const tl_gil *g);

/* For how long the holder has been asked to give way, in ns; 0: it is not. */
int64_t tl_gil_asked_for(const tl_member *m) TL_GIL;

/* Whether the holder, about to look if it has to wait for I/O, is to give the
 * lock up even if not. Policy fair: it has had it for a moment and others
 * wait; else it would keep them out for a whole interval whenever its partner
 * is quick. Policy cpython: always. */
bool tl_gil_gives_way(tl_gil *g, const tl_member *m) TL_GIL;

/* Gives the lock up and sleeps until tl_gil_wake, tl_gil_nudge or the
 * deadline; returns with the lock held. May return early. */
void tl_gil_sleep(tl_gil *g, tl_member *m, int64_t deadline) TL_GIL;

/* The holder lets a sleeper go on once the lock comes to it. */
void tl_gil_wake(tl_gil *g, tl_member *m) TL_GIL;

/* Makes a sleeper take the lock and look around; from any thread or signal
 * handler. */
void tl_gil_nudge(tl_member *m);

/* By the holder. Members that wait go on under the new policy. */
void tl_gil_set_policy(tl_gil *g, tl_gil_policy policy) TL_GIL;

/* Adds a member's counters to *sum; the holder's include the time until now.
 * The caller holds the lock. */
void tl_gil_add_stats(const tl_gil *g, const tl_member *m, tl_gil_stats *sum);

/* How long the others wait before the holder is asked, in ns: from 1 to
 * TL_INTERVAL_MOST, 18 years, of which several can be added up. */
#define TL_INTERVAL_MOST (OS_FOREVER / 16)
void tl_gil_set_interval(tl_gil *g, int64_t interval);

/* Under the mutex, which it releases: asks the holder to give way. */
void tl_gil_ask(tl_gil *g);

bool tl_gil_held(const tl_gil *g, const tl_member *m);

/* Nobody holds it, or somebody else does; for a handler or a report. */
tl_member *tl_gil_holder(const tl_gil *g);

/* Around a fork by the holder: the queue is whole in the child. */
void tl_gil_before_fork(tl_gil *g);
void tl_gil_forked(tl_gil *g); /* in the parent */

/* In the child of a fork, by the thread that forked while holding it. */
void tl_gil_after_fork(tl_gil *g, tl_member *m);

#endif
