/* connection.h - a connection, and the two ways in which messages travel. */
#ifndef TL_CONNECTION_H
#define TL_CONNECTION_H

#include "ipc/record.h"
#include "spin.h"
#include "turn.h"
#include "users.h"

#define CONNECTION "multiprocessing.Connection"
#define CONNECTION_LONGEST ((size_t)INT32_MAX) /* bytes of a message */

typedef struct Connection Connection;

/* How messages travel. What raises does so with nothing half done, but for
 * what 'send' says. */
typedef struct Transport {
  /* Sends the message. The connection is the value at 1. */
  void (*send)(lua_State *L, Connection *c, ipc_message *m);
  bool in_turn; /* one thread at a time sends */
  /* Waits for the next message; returns its size. Raises at the end. */
  size_t (*begin)(lua_State *L, Connection *c, int64_t deadline);
  /* Receives the rest; returns the text, which stays until 'done'. */
  const char *(*text)(lua_State *L, Connection *c, int64_t deadline);
  void (*done)(lua_State *L, Connection *c);
  /* Whether there is a whole message that the socket does not show. */
  bool (*holds)(Connection *c);
  /* Frees what is beside the socket. */
  void (*close)(Connection *c);
} Transport;

struct Connection {
  int fd; /* GIL: -1 closed */
  const Transport *how;
  bool readable, writable; /* GIL */
  bool family;             /* GIL: functions and handles may travel */
  Turn receiving, sending; /* GIL */
  tl_users users;          /* GIL: threads that wait for the descriptor */
  struct {                 /* of a stream */
    bool halfway;          /* sender: inside a message */
    uint32_t header;       /* receiver: the length as it came */
    size_t got;            /* receiver: bytes, header included */
  } stream;
  Spinner spinner;
  ipc_sender out;   /* of records; GIL */
  tl_waitq placing; /* of records; GIL: observers of 'out' */
  ipc_receiver in;  /* of records; receiver */
};                  /* user value: memory for the text of a stream's message */

/* Over SOCK_SEQPACKET: host/ipc/record.h. */
extern const Transport connection_records;

/* Over SOCK_STREAM. A message is its length, four bytes in network order, and
 * its bytes. What a receiver has got of a message when it is interrupted stays
 * for the next one. A sender that is interrupted in the middle of a message
 * ends the stream, for nothing that follows could be understood. */
extern const Transport connection_stream;

/* Pushes a new one, closed, that can be read and written. */
Connection *connection_new(lua_State *L) TL_GIL;

/* Gives it an open socket, which is either kind. */
void connection_opened(Connection *c, int fd) TL_GIL;

/* Closes it; nobody may be inside a call. */
void connection_close_now(Connection *c) TL_GIL;

/* Raises unless it is open and can be written. */
void connection_check_writable(lua_State *L, const Connection *c) TL_GIL;

/* Waits until the socket is ready for 'events', as tl_wait_fd: 0 or negative
 * errno, -ETIMEDOUT; -EDEADLK: a finalizer cannot wait. Does not raise. */
int connection_wait(lua_State *L, Connection *c, short events, int64_t deadline)
    TL_GIL;

/* Raises what such a result means; -EINTR: runs what is pending. */
void connection_raise(lua_State *L, int err, const char *what) TL_GIL;

/* Raises EOFError. */
void connection_ended(lua_State *L, bool inside) TL_GIL;

#endif
