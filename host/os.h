/* os.h - what the core needs of the operating system, and nothing of Lua:
 * the clock, mutexes, a word to sleep on, threads, wake descriptors.
 * Functions that can fail return 0 or a negative errno; none prints. Times
 * are int64_t nanoseconds of the monotonic clock; deadlines are absolute. */
#ifndef TL_OS_H
#define TL_OS_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "annot.h"

#define OS_FOREVER INT64_MAX /* a deadline that never comes */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define OS_SANITIZED 1
#endif
#endif
#ifndef OS_SANITIZED
#define OS_SANITIZED 0
#endif

/* Now, in nanoseconds. os_now never goes back; os_wall is the time of day. */
int64_t os_now(void);
int64_t os_wall(void);

/* Processor time of this thread, of this process, in nanoseconds. */
int64_t os_thread_time(void);
int64_t os_process_time(void);

/* now + ns, held at OS_FOREVER instead of overflowing. */
int64_t os_deadline(int64_t ns);

/* A mutex for sections of a few statements; zeroed memory is not one. */
typedef pthread_mutex_t os_mutex;
int os_mutex_init(os_mutex *m);
void os_mutex_destroy(os_mutex *m);
void os_mutex_lock(os_mutex *m);
void os_mutex_unlock(os_mutex *m);
bool os_mutex_trylock(os_mutex *m); /* true: taken */

/* Sleeps while *word == seen, until os_word_wake, a signal's handler, or
 * 'deadline'; may return early. True unless the deadline has passed. */
bool os_word_wait(atomic_uint *word, unsigned seen, int64_t deadline) TL_NO_GIL;
void os_word_wake(atomic_uint *word); /* all that sleep on it */

/* The same for a word in memory that processes share; the sleep ends also when
 * *own, a word of this process's (NULL: none), is not 'own_seen'. Where the
 * kernel cannot sleep on two words (before 5.16) it ends after OS_WORDS_NAP. */
#define OS_WORDS_NAP 50000000 /* ns */
bool os_words_wait(atomic_uint *shared, unsigned seen, atomic_uint *own,
                   unsigned own_seen, int64_t deadline) TL_NO_GIL;
int os_shared_wake(atomic_uint *word, int n); /* returns how many woke */

/* How many processors this process may use, at least 1. */
int os_cpu_count(void);
int os_cpu_current(void); /* the one this thread is on now; -1 unknown */
void os_cpu_relax(void);  /* in a spin loop */

/* Lets a sleeping thread of this process go on on 'cpu' alone, until it calls
 * os_cpu_free with what is stored in *before. False, and nothing is changed, if
 * it may not run there, or nowhere else. */
typedef cpu_set_t os_cpus;
bool os_cpu_bind(pid_t thread, int cpu, os_cpus *before);
void os_cpu_free(const os_cpus *before);

/* Kernel's id of this thread. */
pid_t os_thread_id(void);

/* Starts a thread with all signals blocked but 'open' (0: none open), and
 * 'stack' bytes of C stack. 'body' runs with the alternate signal stack set
 * up. */
typedef pthread_t os_thread;
int os_thread_start(os_thread *t, size_t stack, int open, void *(*body)(void *),
                    void *arg);
void os_thread_join(os_thread t) TL_NO_GIL; /* waits for its end */
bool os_thread_tryjoin(os_thread t);        /* true: it had ended */
/* To a thread of this process; to none if it has ended. Async-signal-safe. */
void os_thread_signal(pid_t id, int signal);
void os_thread_name(const char *name); /* this thread's, cut to 15 bytes */

/* Makes timed waits of this thread, and of those that it starts, exact instead
 * of 50 us late. exec resets it, so children are not affected. */
void os_timer_exact(void);

/* A descriptor that becomes readable when written: wakes a poll. */
int os_wakefd_open(void);   /* the descriptor, or negative errno */
void os_wakefd_set(int fd); /* async-signal-safe */
void os_wakefd_clear(int fd);

/* The events (of 'events', as poll's, and errors) that 'fd' has now, without
 * waiting; negative errno if poll failed. */
int os_ready(int fd, short events);

/* Waits until one of n descriptors is ready (as poll does), a signal's handler
 * ran or the deadline passed. Returns how many are ready, 0 for anything else,
 * negative errno if poll failed. */
int os_poll_all(struct pollfd *fds, size_t n, int64_t deadline) TL_NO_GIL;

/* The same for 'fd' and 'events', or until 'wake' (-1: none) is readable.
 * Returns the events of fd, 0 for anything else, or negative errno. */
int os_poll(int fd, short events, int wake, int64_t deadline) TL_NO_GIL;

/* Closes fd, whatever errno says; keeps errno. fd < 0: nothing. */
void os_close(int fd);

#endif
