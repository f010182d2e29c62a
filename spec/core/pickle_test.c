/* pickle_test.c - portable objects: how they and their descriptors are pickled.
 *
 * A class of this test, "test.Handle", has a number and a descriptor. */
#include "pickle.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "runtime.h"
#include "tidelock/tidelock.h"

#define HANDLE "test.Handle"

typedef struct Handle {
  int number, fd;
} Handle;

static tl_interp *interp;
static lua_State *L;
static int packs, unpacks;

static TL_UNCHECKED Handle *push_handle(lua_State *S, int number, int fd) {
  Handle *h = lua_newuserdatauv(S, sizeof *h, 1);
  *h = (Handle){number, fd};
  luaL_setmetatable(S, HANDLE);
  return h;
}

static TL_UNCHECKED int handle_gc(lua_State *S) {
  Handle *h = lua_touserdata(S, 1);
  if (h->fd >= 0) close(h->fd);
  h->fd = -1;
  return 0;
}

static TL_UNCHECKED int pack(lua_State *S, int idx, int *fds) {
  Handle *h = lua_touserdata(S, idx);
  packs++;
  if (h->number == 13) tl_error(S, "OSError", "unlucky");
  lua_createtable(S, 1, 0);
  lua_pushinteger(S, h->number);
  lua_rawseti(S, -2, 1);
  lua_getiuservalue(S, idx, 1);
  lua_rawseti(S, -2, 2);
  if (h->fd < 0) return 0;
  fds[0] = h->fd;
  return 1;
}

static TL_UNCHECKED void unpack(lua_State *S, int *fds, int n) {
  unpacks++;
  if (!lua_istable(S, -1)) tl_error(S, "UnpicklingError", "no table");
  lua_rawgeti(S, -1, 1);
  lua_rawgeti(S, -2, 2);
  int number = (int)lua_tointeger(S, -2);
  Handle *h = push_handle(S, number, -1);
  lua_insert(S, -4);
  lua_setiuservalue(S, -4, 1);
  lua_pop(S, 2);
  if (n > 0) {
    h->fd = fds[0];
    fds[0] = -1;
  }
}

static const tl_portable portable = {
    .name = "Handle", .pack = pack, .unpack = unpack};

/* A class whose objects lie in memory that they share. */
#define MEMORY "test.Memory"

static TL_UNCHECKED void unpack_memory(lua_State *S, int *fds, int n) {
  assert_int_equal(n, 1);
  int fd = fds[0];
  unpack(S, fds, 0);
  Handle *h = lua_touserdata(S, -1);
  h->fd = fd;
  luaL_setmetatable(S, MEMORY);
}

static const tl_portable portable_memory = {
    .name = "Memory", .pack = pack, .unpack = unpack_memory, .memory = true};

static TL_UNCHECKED void push_memory(lua_State *S, int number, int fd) {
  push_handle(S, number, fd);
  luaL_setmetatable(S, MEMORY);
}

/* The module that makes the class known: "tidelock._handle". */
static TL_UNCHECKED int open_module(lua_State *S) {
  luaL_newmetatable(S, HANDLE);
  lua_pushcfunction(S, handle_gc);
  lua_setfield(S, -2, "__gc");
  lua_pop(S, 1);
  tl_portable_register(S, HANDLE, "tidelock._handle", &portable);
  luaL_newmetatable(S, MEMORY);
  lua_pop(S, 1);
  tl_portable_register(S, MEMORY, "tidelock._handle", &portable_memory);
  lua_pushboolean(S, 1);
  return 1;
}

static TL_UNCHECKED int setup(void **state) {
  (void)state;
  assert_int_equal(tl_init(), 0);
  interp = tl_open();
  assert_non_null(interp);
  L = tl_state(interp);
  tl_openlibs(L);
  packs = unpacks = 0;
  return 0;
}

static TL_UNCHECKED int setup_class(void **state) {
  setup(state);
  open_module(L);
  lua_settop(L, 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tl_close(interp);
}

static ino_t inode(int fd) {
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  return st.st_ino;
}

static int is_open(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

static int new_file(void) {
  char name[] = "/tmp/pickle_testXXXXXX";
  int fd = mkstemp(name);
  assert_true(fd >= 0);
  unlink(name);
  return fd;
}

/* Arguments of the calls below, which are made protected. */
static struct call {
  unsigned flags;
  const char *data;
  size_t size;
  int *fds;
  int fd_count;
} call;

static TL_UNCHECKED int do_dump(lua_State *S) {
  tl_pickle_dump(S, 1, call.flags, "args");
  return 1;
}

static TL_UNCHECKED int do_load(lua_State *S) {
  tl_pickle_load(S, call.data, call.size, call.fds, call.fd_count, call.flags);
  return 1;
}

/* Replaces the value on the top by its pickle; NULL: the error is there. */
static TL_UNCHECKED const tl_pickled *dump(unsigned flags) {
  call = (struct call){.flags = flags};
  lua_pushcfunction(L, do_dump);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) return NULL;
  return lua_touserdata(L, -1);
}

/* Pushes the value, or the error. */
static TL_UNCHECKED int load(const char *data, size_t size, int *fds, int n,
                             unsigned flags) {
  call = (struct call){flags, data, size, fds, n};
  lua_pushcfunction(L, do_load);
  return lua_pcall(L, 0, 1, 0) == LUA_OK;
}

static TL_UNCHECKED const char *message(void) {
  return luaL_tolstring(L, -1, NULL);
}

static TL_UNCHECKED void test_object_and_descriptor_travel(void **state) {
  (void)state;
  int fd = new_file();
  ino_t file = inode(fd);
  push_handle(L, 7, fd);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_non_null(p);
  assert_int_equal(p->fd_count, 1);
  assert_int_not_equal(p->fds[0], fd);
  assert_int_equal(inode(p->fds[0]), file);
  assert_int_equal(fcntl(p->fds[0], F_GETFD), FD_CLOEXEC);
  lua_gc(L, LUA_GCCOLLECT); /* the handle is gone, the descriptor stays */
  assert_false(is_open(fd));
  assert_true(is_open(p->fds[0]));

  int fds[1] = {dup(p->fds[0])}, took = fds[0];
  assert_true(load(p->data, p->size, fds, 1, TL_PICKLE_HANDLES));
  assert_int_equal(fds[0], -1);
  Handle *h = luaL_checkudata(L, -1, HANDLE);
  assert_int_equal(h->number, 7);
  assert_int_equal(h->fd, took);
  assert_int_equal(inode(h->fd), file);
}

static TL_UNCHECKED void test_one_object_met_twice_is_one(void **state) {
  (void)state;
  lua_newtable(L);
  push_handle(L, 1, new_file());
  for (int i = 1; i <= 3; i++) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, i);
  }
  lua_pop(L, 1);
  push_handle(L, 2, -1);
  lua_rawseti(L, -2, 4);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_non_null(p);
  assert_int_equal(packs, 2);
  assert_int_equal(p->fd_count, 1);
  int fds[1] = {dup(p->fds[0])};
  assert_true(load(p->data, p->size, fds, 1, TL_PICKLE_HANDLES));
  assert_int_equal(unpacks, 2);
  for (int i = 1; i <= 3; i++)
    lua_rawgeti(L, -i, i);
  assert_true(lua_rawequal(L, -1, -2));
  assert_true(lua_rawequal(L, -2, -3));
  lua_rawgeti(L, -4, 4);
  assert_int_equal(((Handle *)lua_touserdata(L, -1))->number, 2);
}

static TL_UNCHECKED void test_descriptors_are_closed(void **state) {
  (void)state;
  push_handle(L, 1, new_file());
  lua_pushvalue(L, -1);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  int fd = p->fds[0];
  tl_pickle_free(L, p);
  assert_false(is_open(fd));
  assert_int_equal(p->fd_count, 0);
  lua_pop(L, 1);
  p = dump(TL_PICKLE_HANDLES);
  fd = p->fds[0];
  lua_pop(L, 1);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  assert_false(is_open(fd));
}

/* Beside a large value, whose bytes are moved. */
static TL_UNCHECKED void test_large_values_with_descriptors(void **state) {
  (void)state;
  assert_int_equal(luaL_dostring(L, "local t = {}\n"
                                    "for i = 1, 50000 do t[i] = 's' .. i end\n"
                                    "return t"),
                   0);
  push_handle(L, 1, new_file());
  lua_setfield(L, -2, "handle");
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_non_null(p);
  assert_true(p->size > 100000);
  lua_gc(L, LUA_GCCOLLECT);
  assert_true(is_open(p->fds[0]));
  int fds[1] = {dup(p->fds[0])};
  assert_true(load(p->data, p->size, fds, 1, TL_PICKLE_HANDLES));
  lua_rawgeti(L, -1, 50000);
  assert_string_equal(lua_tostring(L, -1), "s50000");
}

static TL_UNCHECKED void test_only_where_handles_travel(void **state) {
  (void)state;
  lua_newtable(L);
  push_handle(L, 1, -1);
  lua_setfield(L, -2, "lock");
  lua_pushvalue(L, -1);
  assert_null(dump(TL_PICKLE_FAMILY));
  assert_string_equal(
      message(),
      "pickle.PicklingError: cannot pickle a userdata (test.Handle) at "
      "args.lock: it travels only to a child process or through a connection");
  lua_settop(L, 1);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_false(load(p->data, p->size, NULL, 0, TL_PICKLE_FAMILY));
  assert_true(tl_error_is(L, -1, "UnpicklingError"));
  assert_int_equal(unpacks, 0);
}

static TL_UNCHECKED void test_descriptors_that_are_missing(void **state) {
  (void)state;
  lua_newtable(L);
  for (int i = 1; i <= 2; i++) {
    push_handle(L, i, new_file());
    lua_rawseti(L, -2, i);
  }
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_int_equal(p->fd_count, 2);
  int fds[2] = {dup(p->fds[0]), dup(p->fds[1])}, second = fds[1];
  assert_false(load(p->data, p->size, fds, 1, TL_PICKLE_HANDLES));
  assert_true(tl_error_is(L, -1, "UnpicklingError"));
  assert_int_equal(fds[0], -1); /* the first object's, which is collected */
  assert_int_equal(fds[1], second);
  close(second);
}

/* The value of one handle has another in it, with a descriptor of its own. */
static TL_UNCHECKED void test_handles_within_handles(void **state) {
  (void)state;
  Handle *outer = push_handle(L, 1, new_file());
  Handle *inner = push_handle(L, 2, new_file());
  ino_t files[2] = {inode(outer->fd), inode(inner->fd)};
  lua_setiuservalue(L, -2, 1);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_int_equal(p->fd_count, 2);
  int fds[2] = {dup(p->fds[0]), dup(p->fds[1])};
  assert_true(load(p->data, p->size, fds, 2, TL_PICKLE_HANDLES));
  assert_true(fds[0] == -1 && fds[1] == -1);
  outer = lua_touserdata(L, -1);
  assert_int_equal(outer->number, 1);
  assert_int_equal(inode(outer->fd), files[0]);
  assert_int_equal(lua_getiuservalue(L, -1, 1), LUA_TUSERDATA);
  inner = lua_touserdata(L, -1);
  assert_int_equal(inner->number, 2);
  assert_int_equal(inode(inner->fd), files[1]);
}

/* Many handles of one memory, with others in between. */
static TL_UNCHECKED void test_memory_goes_along_once(void **state) {
  (void)state;
  int memory[2] = {new_file(), new_file()};
  lua_newtable(L);
  for (int i = 1; i <= 600; i++) {
    if (i % 300 == 0)
      push_handle(L, 100 + i, new_file());
    else
      push_memory(L, 100 + i, memory[i % 2]);
    lua_rawseti(L, -2, i);
  }
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_int_equal(p->fd_count, 4);
  int fds[4];
  for (int i = 0; i < 4; i++)
    fds[i] = dup(p->fds[i]);
  assert_true(load(p->data, p->size, fds, 4, TL_PICKLE_HANDLES));
  assert_true(fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1 && fds[3] == -1);
  for (int i = 1; i <= 600; i++) {
    lua_rawgeti(L, -1, i);
    Handle *h = lua_touserdata(L, -1);
    assert_int_equal(h->number, 100 + i);
    if (i % 300 != 0)
      assert_int_equal(inode(h->fd), inode(memory[i % 2]));
    else
      assert_true(is_open(h->fd));
    lua_pop(L, 1);
  }
  /* One of them is not there. */
  assert_false(load(p->data, p->size, fds, 1, TL_PICKLE_HANDLES));
  assert_true(tl_error_is(L, -1, "UnpicklingError"));
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT);
  for (int i = 0; i < 2; i++) {
    close(fds[i]);
    assert_int_equal(close(memory[i]), 0);
  }
}

static TL_UNCHECKED void test_an_error_in_pack(void **state) {
  (void)state;
  lua_newtable(L);
  push_handle(L, 1, new_file());
  lua_rawseti(L, -2, 1);
  push_handle(L, 13, -1);
  lua_rawseti(L, -2, 2);
  assert_null(dump(TL_PICKLE_HANDLES));
  assert_true(tl_error_is(L, -1, "OSError"));
}

/* The field may be a function that names another object. */
static TL_UNCHECKED void test_substitutes(void **state) {
  (void)state;
  push_handle(L, 5, -1);
  lua_setglobal(L, "handle");
  assert_int_equal(
      luaL_dostring(L, "calls = 0\n"
                       "local class = {__portable = function(o)\n"
                       "  calls = calls + 1 return o.it end}\n"
                       "local a = setmetatable({it = handle}, class)\n"
                       "local b = setmetatable({it = handle}, class)\n"
                       "bad = setmetatable({it = {}}, class)\n"
                       "return {a, a, b, handle, b}"),
      0);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  assert_non_null(p);
  assert_int_equal(packs, 1);
  lua_getglobal(L, "calls");
  assert_int_equal(lua_tointeger(L, -1), 2);
  assert_true(load(p->data, p->size, NULL, 0, TL_PICKLE_HANDLES));
  int list = lua_gettop(L);
  for (int i = 1; i <= 5; i++)
    lua_rawgeti(L, list, i);
  for (int i = 2; i <= 5; i++)
    assert_true(lua_rawequal(L, list + 1, list + i));
  assert_int_equal(((Handle *)lua_touserdata(L, -1))->number, 5);
  lua_getglobal(L, "bad");
  assert_null(dump(TL_PICKLE_HANDLES));
  assert_non_null(strstr(message(), "its __portable returns nothing portable"));
}

static TL_UNCHECKED void
test_the_module_of_the_class_is_required(void **state) {
  (void)state;
  push_handle(L, 3, -1);
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  size_t size = p->size;
  char *data = malloc(size);
  memcpy(data, p->data, size);
  teardown(state);
  setup(state); /* an interpreter that does not know the class */
  assert_false(load(data, size, NULL, 0, TL_PICKLE_HANDLES));
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_module);
  lua_setfield(L, -2, "tidelock._handle");
  assert_true(load(data, size, NULL, 0, TL_PICKLE_HANDLES));
  assert_int_equal(((Handle *)luaL_checkudata(L, -1, HANDLE))->number, 3);
  free(data);
}

/* Nobody else's module is. */
static TL_UNCHECKED void test_other_modules_are_not_required(void **state) {
  (void)state;
  static const char data[] = "\x93TL\x01\xFC\x84name\x86module\x00\x01";
  assert_int_equal(
      luaL_dostring(L, "package.preload.module = function() hit = true end"),
      0);
  assert_false(load(data, sizeof data - 1, NULL, 0,
                    TL_PICKLE_HANDLES | TL_PICKLE_FAMILY));
  assert_non_null(strstr(message(), "the class 'name' is unknown here"));
  lua_getglobal(L, "hit");
  assert_true(lua_isnil(L, -1));
}

/* Every truncation: what was made is collected, the rest stays the caller's. */
static TL_UNCHECKED void test_damaged_data_loses_no_descriptor(void **state) {
  (void)state;
  lua_newtable(L);
  for (int i = 1; i <= 3; i++) {
    push_handle(L, i, new_file());
    lua_rawseti(L, -2, i);
  }
  const tl_pickled *p = dump(TL_PICKLE_HANDLES);
  for (size_t n = 0; n < p->size; n++) {
    int fds[3], copies[3];
    for (int i = 0; i < 3; i++)
      copies[i] = fds[i] = dup(p->fds[i]);
    assert_false(load(p->data, n, fds, 3, TL_PICKLE_HANDLES));
    lua_pop(L, 1);
    for (int i = 0; i < 3; i++)
      if (fds[i] >= 0) assert_int_equal(close(fds[i]), 0);
    lua_gc(L, LUA_GCCOLLECT);
    for (int i = 0; i < 3; i++)
      assert_false(is_open(copies[i]));
  }
}

/* Items of a list ---------------------------------------------------------- */

/* (list, first, n, target, how many it has): the items as a value, and the
 * target with them. */
static TL_UNCHECKED int do_items(lua_State *S) {
  const tl_pickled *p = tl_pickle_dump_items(
      S, 1, lua_tointeger(S, 2), lua_tointeger(S, 3), TL_PICKLE_FAMILY, "args");
  lua_Integer has = lua_tointeger(S, 5);
  tl_pickle_load(S, p->data, p->size, NULL, 0, TL_PICKLE_FAMILY);
  lua_Integer more =
      tl_pickle_load_items(S, 4, has, p->data, p->size, TL_PICKLE_FAMILY);
  assert_int_equal(more, lua_tointeger(S, 3));
  for (size_t size = 0; size < p->size; size++) { /* it is all needed */
    lua_pushcfunction(S, do_load);
    call = (struct call){.flags = TL_PICKLE_FAMILY, p->data, size, NULL, 0};
    assert_int_not_equal(lua_pcall(S, 0, 0, 0), LUA_OK);
    lua_settop(S, 7);
  }
  lua_pushvalue(S, 4);
  return 2;
}

/* Runs a chunk that checks what do_items, its argument, does. */
static TL_UNCHECKED void check_items(const char *chunk) {
  if (luaL_loadstring(L, chunk) != LUA_OK) fail_msg("%s", message());
  lua_pushcfunction(L, do_items);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) fail_msg("%s", message());
}

static TL_UNCHECKED void test_items_are_a_table(void **state) {
  (void)state;
  check_items(
      "local t = (...)({1, 'a', 300, 70000, 1 << 40, 2.5, -1}, 2, 6, {}, 0)"
      "assert(t.n == 6 and #t == 6 and t[1] == 'a' and t[2] == 300)"
      "assert(t[3] == 70000 and t[4] == 1 << 40 and t[5] == 2.5 and t[6] == "
      "-1)");
  check_items("local t = (...)({}, 1, 0, {}, 0) assert(t.n == 0 and #t == 0)");
  check_items("local t = (...)({1, nil, 3, nil}, 1, 5, {}, 0)"
              "assert(t.n == 5 and t[1] == 1 and t[2] == nil and t[3] == 3)");
}

static TL_UNCHECKED void test_items_come_behind_others(void **state) {
  (void)state;
  check_items("local _, t = (...)({1, 2, 3, 4, 5}, 2, 3, {'x', 'y'}, 2)"
              "assert(table.concat(t, ' ') == 'x y 2 3 4' and t.n == nil)");
  check_items("local list = {} for i = 1, 1000 do list[i] = i * i * i end "
              "local _, t = (...)(list, 1, 1000, {0}, 1)"
              "for i = 1, 1000 do assert(t[i + 1] == i * i * i) end");
}

/* The list itself is another object than its items are. */
static TL_UNCHECKED void test_items_share_and_refer(void **state) {
  (void)state;
  check_items(
      "local list, one = {}, {5} list[1], list[2], list[3] = one, list, one "
      "local t, u = (...)(list, 1, 3, {}, 0) "
      "assert(t[1] == t[3] and t[1][1] == 5 and t[2] ~= t) "
      "assert(t[2][2] == t[2] and t[2][1] == t[1] and t[2].n == nil) "
      "assert(u[1] == u[3] and u[2] ~= u and u[2][1] == u[1])");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup_class, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_object_and_descriptor_travel),
      CASE(test_one_object_met_twice_is_one),
      CASE(test_descriptors_are_closed),
      CASE(test_large_values_with_descriptors),
      CASE(test_only_where_handles_travel),
      CASE(test_descriptors_that_are_missing),
      CASE(test_handles_within_handles),
      CASE(test_memory_goes_along_once),
      CASE(test_an_error_in_pack),
      CASE(test_substitutes),
      CASE(test_the_module_of_the_class_is_required),
      CASE(test_other_modules_are_not_required),
      CASE(test_damaged_data_loses_no_descriptor),
      CASE(test_items_are_a_table),
      CASE(test_items_come_behind_others),
      CASE(test_items_share_and_refer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
