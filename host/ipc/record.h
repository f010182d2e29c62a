/* record.h - messages between processes, each sent and received whole, with
 * descriptors; without Lua.
 *
 * A message is one record of a SOCK_SEQPACKET socket: several processes may
 * send and receive on one connection, and whoever ends, ends between two
 * messages. The text of a short one is in the record. That of a longer one is
 * in a segment, whose descriptor is in the record; the sender keeps a few
 * segments and writes to them again and again, which is several times faster
 * than a stream.
 *
 * How the sender learns that a segment is free again: the record has the
 * writing end of a pipe as well, and the sender keeps the reading end, the
 * token. It ends when the receiver has closed its end, or has died, or when the
 * record was thrown away unread: whatever happens, nobody waits in vain. What
 * is under way in segments is bounded, as it is in a socket: then the sender
 * has to wait.
 *
 * Functions return 0 or a negative errno. None waits. */
#ifndef TL_RECORD_H
#define TL_RECORD_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "segment.h"

#define IPC_FDS 250                   /* descriptors of a message, at most */
#define IPC_INLINE ((size_t)64 << 10) /* bytes of text in a record, at most */
#define IPC_KEPT ((size_t)4 << 20)    /* bytes of a segment that is kept */
#define IPC_UNDER_WAY ((size_t)16 << 20) /* bytes in segments, usually */
#define IPC_SLOTS 4

/* --- sending -------------------------------------------------------------- */

/* A segment of the sender's. */
typedef struct ipc_slot {
  os_segment segment;
  int token;   /* -1: not under way */
  size_t size; /* bytes of its message, or of the one that takes it */
  bool taken;  /* by a message that is not sent yet */
} ipc_slot;

/* Zeroed memory is a valid one. It belongs to the process that used it: in a
 * fork's child it begins anew. */
typedef struct ipc_sender {
  ipc_slot *slots; /* IPC_SLOTS of them, once one was needed */
  pid_t process;
} ipc_sender;

/* What is sent. It stays the caller's. */
typedef struct ipc_message {
  const char *text;
  size_t size;
  const int *fds;
  int fd_count;
  ipc_slot *slot; /* NULL at first */
} ipc_message;

/* Whether it travels in a segment, and so needs a slot. */
static inline bool ipc_is_long(const ipc_message *m) {
  return m->size > IPC_INLINE;
}

/* Takes a slot for the message. -EAGAIN: wait for ipc_sender_tokens. */
int ipc_message_place(ipc_sender *s, ipc_message *m);

/* Writes it to the slot; nothing else is touched, so that other threads may use
 * the sender meanwhile. */
int ipc_message_write(ipc_message *m);

/* Sends it; a long one has been written. -EAGAIN: wait until the socket can be
 * written to; the slot stays taken until then, or until ipc_message_drop. */
int ipc_message_send(int socket, ipc_message *m);
void ipc_message_drop(ipc_message *m);

/* Fills in what to poll for a slot to become free; returns how many. */
int ipc_sender_tokens(const ipc_sender *s, struct pollfd fds[IPC_SLOTS]);

void ipc_sender_close(ipc_sender *s);

/* --- receiving ------------------------------------------------------------ */

typedef struct ipc_known ipc_known; /* a segment of the other side's */

/* Zeroed memory is a valid one without a message. */
typedef struct ipc_receiver {
  bool full;        /* there is a message, for the process that received it */
  pid_t process;    /* that one */
  const char *text; /* of the message, until it is done */
  size_t size;
  int fds[IPC_FDS + 2]; /* its descriptors, the caller's to take: then -1 */
  int fd_count;
  int token;        /* -1, or what tells the sender that it is done */
  char *buffer;     /* for a record; NULL before the first */
  ipc_known *known; /* segments that may come again; NULL before the first */
  os_segment once;  /* one that will not */
} ipc_receiver;

/* Whether it holds a message. One that a fork has copied is forgotten: it is
 * the parent's. */
bool ipc_receiver_full(ipc_receiver *r);

/* Receives one; r holds none. 1: now it does; 0: the other side is closed.
 * -EAGAIN: wait until the socket can be read; -EBADMSG: what came is no
 * message; -EMFILE: this process had no descriptors left, and the message is
 * lost. */
int ipc_receive(int socket, ipc_receiver *r);

/* The message has been read: the descriptors that are left are closed. */
void ipc_receiver_done(ipc_receiver *r);

void ipc_receiver_close(ipc_receiver *r);

#endif
