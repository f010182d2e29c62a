/* channel.h - how bindings put into a channel between processes and get from
 * it: with waiting, deadlines and interruption. */
#ifndef TL_BIND_CHANNEL_H
#define TL_BIND_CHANNEL_H

#include "ipc/channel.h"
#include "spin.h"
#include "synchronize.h"

/* Makes the channel, whose closed handle is in a userdata already, having
 * collected garbage if it must. Raises OSError. */
void channel_create(lua_State *L, ipc_channel *c, uint32_t maxsize,
                    uint64_t limit, size_t extra) TL_GIL;

/* Sleeps as 'w' says, while the handle stays open. False if something is
 * pending, for sync_raise, or nothing may wait here. */
bool channel_sleep(lua_State *L, ipc_channel *c, const sync_kind *k,
                   ipc_wait *w, int64_t deadline) TL_GIL;

/* Puts a message of n parts (see ipc_channel_put): true, with its number; false
 * when the deadline has passed or the channel was ended. Gives up the GIL while
 * it waits; 'what' is for reports. Raises what is pending, and OSError:
 * EMSGSIZE for a message that can never fit. */
bool channel_put(lua_State *L, ipc_channel *c, const struct iovec *parts, int n,
                 int64_t deadline, const char *what, int wake, uint32_t *number)
    TL_GIL;

/* A message: short ones lie here, on the C stack of who gets them. */
typedef struct channel_message {
  const char *data;
  uint64_t size;
  bool ended; /* nothing came, and nothing will */
  char small[1024];
} channel_message;

/* Takes a message and pushes what keeps it; false, with nothing pushed, when
 * the deadline has passed or the channel was ended. With a spinner it waits
 * busily first. Otherwise as channel_put. */
bool channel_get(lua_State *L, ipc_channel *c, Spinner *s, int64_t deadline,
                 const char *what, ipc_mark mark, channel_message *m) TL_GIL;

#endif
