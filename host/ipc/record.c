/* record.c - messages between processes, each sent and received whole. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

/* What a record begins with. */
typedef struct Header {
  uint32_t mark;
  uint32_t fd_count; /* of the message's own; in front */
  uint64_t size;     /* bytes of text */
} Header;

enum { SHORT = 0x746c6d30, LONG = 0x746c6d31 }; /* mark: where the text is */

/* One more than a message has: a record that is cut off is seen. */
#define RECORD (sizeof(Header) + IPC_INLINE + 1)

typedef union Control { /* room for descriptors, aligned */
  struct cmsghdr header;
  char room[CMSG_SPACE((IPC_FDS + 2) * sizeof(int))];
} Control;

/* --- sending -------------------------------------------------------------- */

static void empty_slot(ipc_slot *slot) {
  os_segment_close(&slot->segment);
  os_close(slot->token);
  *slot = (ipc_slot){.segment.fd = -1, .token = -1};
}

static void free_slots(ipc_sender *s) {
  for (int i = 0; s->slots && i < IPC_SLOTS; i++)
    empty_slot(&s->slots[i]);
  free(s->slots);
  s->slots = NULL;
}

void ipc_sender_close(ipc_sender *s) {
  free_slots(s);
}

/* The parent of a fork writes to its segments, so the child shall not. */
static int get_slots(ipc_sender *s) {
  if (s->slots && s->process != getpid()) free_slots(s);
  if (s->slots) return 0;
  s->slots = malloc(IPC_SLOTS * sizeof *s->slots);
  if (!s->slots) return -ENOMEM;
  s->process = getpid();
  for (int i = 0; i < IPC_SLOTS; i++)
    s->slots[i] = (ipc_slot){.segment.fd = -1, .token = -1};
  return 0;
}

/* Whether the slot can be taken; looks whether its last message was read. */
static bool is_free(ipc_slot *slot) {
  if (slot->taken) return false;
  if (slot->token < 0) return true;
  if (os_ready(slot->token, POLLIN) <= 0) return false;
  os_close(slot->token);
  slot->token = -1;
  slot->size = 0;
  return true;
}

/* One that is large enough already, but no larger than need be; or else the
 * one whose segment is the least loss. */
static bool is_better(const ipc_slot *slot, const ipc_slot *best, size_t size) {
  bool fits = slot->segment.size >= size;
  if (!best || fits != (best->segment.size >= size)) return !best || fits;
  return slot->segment.size < best->segment.size;
}

int ipc_message_place(ipc_sender *s, ipc_message *m) {
  int err = get_slots(s);
  if (err) return err;
  ipc_slot *best = NULL;
  size_t under_way = 0;
  for (int i = 0; i < IPC_SLOTS; i++) {
    ipc_slot *slot = &s->slots[i];
    if (!is_free(slot))
      under_way += slot->size;
    else if (is_better(slot, best, m->size))
      best = slot;
  }
  bool room = under_way == 0 || under_way + m->size <= IPC_UNDER_WAY;
  if (!best || !room) return -EAGAIN;
  best->taken = true;
  best->size = m->size;
  m->slot = best;
  return 0;
}

/* The segment for a message: one that is kept serves others as well. */
static size_t segment_size(size_t needed) {
  if (needed > IPC_KEPT) return needed;
  size_t size = 2 * IPC_INLINE;
  while (size < needed)
    size *= 2;
  return size;
}

int ipc_message_write(ipc_message *m) {
  os_segment *segment = &m->slot->segment;
  if (segment->size < m->size) {
    os_segment_close(segment);
    int err = os_segment_create(segment, "message", segment_size(m->size));
    if (err) return err;
  }
  memcpy(segment->memory, m->text, m->size);
  return 0;
}

void ipc_message_drop(ipc_message *m) {
  if (!m->slot) return;
  m->slot->taken = false;
  m->slot->size = 0;
  if (m->slot->segment.size > IPC_KEPT) os_segment_close(&m->slot->segment);
  m->slot = NULL;
}

static void set_fds(struct msghdr *h, Control *c, const int *fds, int n) {
  size_t bytes = (size_t)n * sizeof *fds;
  c->header = (struct cmsghdr){.cmsg_len = CMSG_LEN(bytes),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&c->header), fds, bytes);
  h->msg_control = c;
  h->msg_controllen = CMSG_SPACE(bytes);
}

/* The first failure may be told because the other side was closed with
 * messages unread; the next tells how things are now. */
static int send_record(int socket, const struct msghdr *h) {
  for (int tries = 0;; tries++) {
    if (sendmsg(socket, h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno == ECONNRESET && tries == 0) continue;
    if (errno != EINTR) return -errno;
  }
}

static int send_short(int socket, const ipc_message *m) {
  Header header = {SHORT, (uint32_t)m->fd_count, m->size};
  struct iovec parts[] = {{&header, sizeof header}, {(char *)m->text, m->size}};
  struct msghdr h = {.msg_iov = parts, .msg_iovlen = m->size > 0 ? 2 : 1};
  if (m->fd_count == 0) return send_record(socket, &h);
  Control control;
  set_fds(&h, &control, m->fds, m->fd_count);
  return send_record(socket, &h);
}

/* The token is made last and given up when it cannot be sent, so that no fork
 * copies the end that is the receiver's alone. */
static int send_long(int socket, ipc_message *m) {
  int ends[2], fds[IPC_FDS + 2], n = m->fd_count;
  Header header = {LONG, (uint32_t)n, m->size};
  struct iovec part = {&header, sizeof header};
  struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
  Control control;
  if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
  if (n > 0) memcpy(fds, m->fds, (size_t)n * sizeof *fds);
  fds[n] = m->slot->segment.fd;
  fds[n + 1] = ends[1];
  set_fds(&h, &control, fds, n + 2);
  int err = send_record(socket, &h);
  os_close(ends[1]);
  if (err) {
    os_close(ends[0]);
    return err;
  }
  ipc_slot *slot = m->slot;
  slot->token = ends[0];
  slot->taken = false;
  if (slot->segment.size > IPC_KEPT) os_segment_close(&slot->segment);
  m->slot = NULL;
  return 0;
}

int ipc_message_send(int socket, ipc_message *m) {
  return m->slot ? send_long(socket, m) : send_short(socket, m);
}

int ipc_sender_tokens(const ipc_sender *s, struct pollfd fds[IPC_SLOTS]) {
  int n = 0;
  for (int i = 0; s->slots && i < IPC_SLOTS; i++)
    if (s->slots[i].token >= 0)
      fds[n++] = (struct pollfd){.fd = s->slots[i].token, .events = POLLIN};
  return n;
}

/* --- receiving ------------------------------------------------------------ */

struct ipc_known {
  struct {
    os_segment segment;
    ino_t number; /* of its file, which the mapping keeps */
  } entries[IPC_SLOTS];
  int next; /* the one to be replaced */
};

static void close_all(int *fds, int n) {
  for (int i = 0; i < n; i++) {
    os_close(fds[i]);
    fds[i] = -1;
  }
}

void ipc_receiver_done(ipc_receiver *r) {
  if (!r->full) return;
  r->full = false;
  close_all(r->fds, r->fd_count);
  os_close(r->token);
  if (r->once.memory) os_segment_close(&r->once);
}

bool ipc_receiver_full(ipc_receiver *r) {
  if (r->full && r->process != getpid()) ipc_receiver_done(r);
  return r->full;
}

void ipc_receiver_close(ipc_receiver *r) {
  ipc_receiver_done(r);
  for (int i = 0; r->known && i < IPC_SLOTS; i++)
    os_segment_close(&r->known->entries[i].segment);
  free(r->known);
  free(r->buffer);
  r->known = NULL;
  r->buffer = NULL;
}

/* Memory for what may be needed, so that no message is lost for lack of it. */
static int get_memory(ipc_receiver *r) {
  if (!r->buffer) r->buffer = malloc(RECORD);
  if (!r->buffer) return -ENOMEM;
  if (r->known) return 0;
  r->known = malloc(sizeof *r->known);
  if (!r->known) return -ENOMEM;
  *r->known = (ipc_known){0};
  for (int i = 0; i < IPC_SLOTS; i++)
    r->known->entries[i].segment.fd = -1;
  return 0;
}

/* The text of a long message, whose segment is 'fd', which is taken over. */
static int find_text(ipc_receiver *r, int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) return os_close(fd), -EBADMSG;
  ipc_known *known = r->known;
  for (int i = 0; i < IPC_SLOTS; i++) {
    os_segment *s = &known->entries[i].segment;
    if (!s->memory || known->entries[i].number != st.st_ino) continue;
    os_close(fd);
    r->text = s->memory;
    return s->size >= r->size ? 0 : -EBADMSG;
  }
  int err = os_segment_open(&r->once, fd, r->size);
  if (err) return err == -EINVAL ? -EBADMSG : err;
  r->text = r->once.memory;
  if (r->once.size > IPC_KEPT) return 0;
  os_segment_close(&known->entries[known->next].segment);
  known->entries[known->next].segment = r->once;
  known->entries[known->next].number = st.st_ino;
  known->next = (known->next + 1) % IPC_SLOTS;
  r->once = (os_segment){.fd = -1};
  return 0;
}

/* Puts the descriptors of a record into r->fds; returns their number. */
static int take_fds(ipc_receiver *r, struct msghdr *h) {
  struct cmsghdr *c = CMSG_FIRSTHDR(h);
  if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return 0;
  int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(r->fds, CMSG_DATA(c), (size_t)n * sizeof(int));
  return n;
}

/* Makes a message of a record of n bytes with r->fd_count descriptors. */
static int understand(ipc_receiver *r, size_t n) {
  Header header;
  if (n < sizeof header) return -EBADMSG;
  memcpy(&header, r->buffer, sizeof header);
  int fd_count = r->fd_count;
  if (header.size > SIZE_MAX / 2) return -EBADMSG;
  r->size = (size_t)header.size;
  r->text = r->buffer + sizeof header;
  if (header.mark == SHORT) {
    bool right = n == sizeof header + r->size &&
                 header.fd_count == (uint32_t)fd_count && fd_count <= IPC_FDS;
    return right ? 0 : -EBADMSG;
  }
  if (header.mark != LONG || n != sizeof header || fd_count < 2 ||
      header.fd_count != (uint32_t)fd_count - 2)
    return -EBADMSG;
  r->fd_count -= 2;
  r->token = r->fds[r->fd_count + 1];
  return find_text(r, r->fds[r->fd_count]);
}

int ipc_receive(int socket, ipc_receiver *r) {
  int err = get_memory(r);
  if (err) return err;
  struct iovec part = {r->buffer, RECORD};
  Control control;
  struct msghdr h;
  ssize_t n;
  for (int tries = 0;; tries++) {
    h = (struct msghdr){.msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control};
    n = recvmsg(socket, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n >= 0) break;
    /* Told once, when the other side was closed with messages unread. */
    if (errno == ECONNRESET && tries == 0) continue;
    if (errno != EINTR) return errno == ECONNRESET ? 0 : -errno;
  }
  r->fd_count = take_fds(r, &h);
  if (n == 0) return close_all(r->fds, r->fd_count), 0;
  r->full = true;
  r->process = getpid();
  r->token = -1;
  r->once = (os_segment){.fd = -1};
  if (h.msg_flags & MSG_CTRUNC)
    err = -EMFILE;
  else
    err = h.msg_flags & MSG_TRUNC ? -EBADMSG : understand(r, (size_t)n);
  if (err) ipc_receiver_done(r);
  return err ? err : 1;
}
