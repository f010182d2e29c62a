/* records.c - messages over a Unix socket: the waiting about ipc/record.h. See
 * connection.h.
 *
 * A message is sent or received by one system call, so threads need no turn to
 * send, and an interrupt finds none in the middle. */
#include <errno.h>
#include <poll.h>

#include "connection.h"

/* Above this size others may run while the text is copied. */
#define LONG_COPY ((size_t)256 << 10)

/* --- sending ------------------------------------------------------------ */

/* Waits until a slot may be free: one of the messages that are under way has
 * been received, or another thread has sent its message or given up. */
static TL_GIL int wait_for_slot(lua_State *L, Connection *c) {
  if (tl_in_finalizer(L)) return -EDEADLK;
  struct pollfd fds[IPC_SLOTS + 1];
  tl_waitq *queue = &c->placing;
  tl_waiter observer;
  tl_observation o = {
      .queues = &queue, .observers = &observer, .queue_count = 1, .fds = fds};
  o.fd_count = ipc_sender_tokens(&c->out, fds);
  tl_users_enter(&c->users);
  int ready = tl_observe(L, &o, TL_FOREVER);
  tl_users_leave(&c->users);
  if (ready < 0) return ready;
  return tl_is_pending(bind_thread()) ? -EINTR : 0;
}

/* Places the text in a slot: 0, -EAGAIN: there is none, negative errno. */
static TL_GIL int place(lua_State *L, Connection *c, ipc_message *m) {
  int err = ipc_message_place(&c->out, m);
  if (err) return err;
  if (m->size < LONG_COPY || tl_in_finalizer(L)) return ipc_message_write(m);
  tl_users_enter(&c->users);
  tl_block_begin(bind_thread(), NULL);
  err = ipc_message_write(m);
  tl_block_end(bind_thread());
  tl_users_leave(&c->users);
  return err;
}

/* One attempt: 0, or what hinders it: -EAGAIN, as -EBUSY if it is a slot. */
static TL_GIL int try_send(lua_State *L, Connection *c, ipc_message *m) {
  if (ipc_is_long(m) && !m->slot) {
    int err = place(L, c, m);
    if (err) return err == -EAGAIN ? -EBUSY : err;
  }
  return ipc_message_send(c->fd, m);
}

/* Raising leaves nothing, and so may what is run in a wait. */
static TL_GIL void records_send(lua_State *L, Connection *c, ipc_message *m) {
  bool is_long = ipc_is_long(m);
  for (;;) {
    int err = try_send(L, c, m);
    if (err == -EAGAIN)
      err = connection_wait(L, c, POLLOUT, TL_FOREVER);
    else if (err == -EBUSY)
      err = wait_for_slot(L, c);
    else if (err == 0)
      break;
    if (err == 0) continue;
    ipc_message_drop(m);
    tl_wake(&c->placing, 0);
    connection_raise(L, err, "send");
    connection_check_writable(L, c);
  }
  if (is_long) tl_wake(&c->placing, 0);
}

/* --- receiving ---------------------------------------------------------- */

static TL_GIL size_t records_begin(lua_State *L, Connection *c,
                                   int64_t deadline) {
  while (!ipc_receiver_full(&c->in)) {
    int n = ipc_receive(c->fd, &c->in);
    if (n == 0)
      connection_ended(L, false);
    else if (n == -EAGAIN)
      connection_raise(L, connection_wait(L, c, POLLIN, deadline), "recv");
    else if (n < 0)
      tl_error_os(L, -n, "recv");
  }
  return c->in.size;
}

static TL_GIL const char *records_text(lua_State *L, Connection *c,
                                       int64_t deadline) {
  (void)L, (void)deadline;
  return c->in.text;
}

static TL_GIL void records_done(lua_State *L, Connection *c) {
  (void)L;
  ipc_receiver_done(&c->in);
}

static TL_GIL bool records_holds(Connection *c) {
  return ipc_receiver_full(&c->in);
}

static TL_GIL void records_close(Connection *c) {
  ipc_sender_close(&c->out);
  ipc_receiver_close(&c->in);
}

const Transport connection_records = {.send = records_send,
                                      .begin = records_begin,
                                      .text = records_text,
                                      .done = records_done,
                                      .holds = records_holds,
                                      .close = records_close};
