/* items.c - the items of a queue.
 *
 * A FIFO is a chain of blocks, tables of a fixed size whose last slot holds
 * the next block: nothing is ever copied, what was drained is free again, and
 * the collector looks only at blocks that were written. A stack is one table.
 * A heap is one table with three slots for each item: the item, its key and
 * its number, by which equal ones keep their order.
 *
 * Comparing keys may run Lua code, which may raise or let other threads run.
 * So a heap is only read while it compares; then it is changed at one go, if
 * nobody else has changed it meanwhile. */
#include "items.h"

enum { HEAD = 1, TAIL = 2, SPARE = 3 }; /* user values of a FIFO */
enum { TABLE = 1 };                     /* of the others */
enum { NEXT = ITEMS_BLOCK + 1 };        /* slot of a block */
enum { KEPT_ROOM = 1024 }; /* a stack or heap of more is dropped when empty */
enum { DEPTH = 64 };       /* of a heap, at most */

static const char nil_item; /* stands for nil in a heap */

/* --- first in, first out -------------------------------------------------- */

/* Links the block on the top behind the last one, and pops it. */
static TL_GIL void link_block(lua_State *L, Items *it) {
  if (lua_getiuservalue(L, 1, TAIL) == LUA_TTABLE) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, NEXT);
  } else {
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, 1, HEAD);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, 1, TAIL);
  it->tail = 0;
}

static TL_GIL void extend_fifo(lua_State *L, Items *it) {
  if (lua_getiuservalue(L, 1, SPARE) == LUA_TTABLE) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, SPARE);
  } else {
    lua_pop(L, 1);
    lua_createtable(L, NEXT, 0);
  }
  if (it->tail == ITEMS_BLOCK)
    link_block(L, it);
  else
    lua_setiuservalue(L, 1, SPARE); /* a finalizer was here before us */
}

static TL_GIL void fifo_add(lua_State *L, Items *it, int idx) {
  lua_getiuservalue(L, 1, TAIL);
  lua_pushvalue(L, idx);
  lua_rawseti(L, -2, ++it->tail);
  it->count++;
}

/* The first block is read to its end: the next one becomes the first. */
static TL_GIL void next_block(lua_State *L, Items *it) {
  lua_getiuservalue(L, 1, HEAD);
  lua_rawgeti(L, -1, NEXT);
  lua_setiuservalue(L, 1, HEAD);
  lua_pushnil(L);
  lua_rawseti(L, -2, NEXT);
  lua_setiuservalue(L, 1, SPARE);
  it->head = 0;
}

static TL_GIL void fifo_take(lua_State *L, Items *it) {
  if (tl_unlikely(it->head == ITEMS_BLOCK)) next_block(L, it);
  lua_getiuservalue(L, 1, HEAD);
  if (lua_rawgeti(L, -1, ++it->head) >= LUA_TSTRING) {
    lua_pushnil(L); /* what is not collectable may stay in its slot */
    lua_rawseti(L, -3, it->head);
  }
  if (--it->count == 0) {
    if (it->head != it->tail) next_block(L, it); /* one was reserved */
    it->head = it->tail = 0;
  }
}

/* --- a table for a stack or a heap ---------------------------------------- */

/* Room for the next item is not reserved: storing it is the first change. */
static TL_GIL void make_table(lua_State *L) {
  if (lua_getiuservalue(L, 1, TABLE) == LUA_TNIL) {
    lua_newtable(L);
    if (lua_getiuservalue(L, 1, TABLE) == LUA_TNIL) {
      lua_pushvalue(L, -2);
      lua_setiuservalue(L, 1, TABLE);
    }
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

static TL_GIL void counted(lua_State *L, Items *it, int change) {
  it->count += change;
  it->changes++;
  if (it->count > it->room) it->room = it->count;
  if (it->count == 0 && it->room > KEPT_ROOM) {
    it->room = 0;
    lua_pushnil(L);
    lua_setiuservalue(L, 1, TABLE);
  }
}

static TL_GIL void lifo_add(lua_State *L, Items *it, int idx) {
  lua_getiuservalue(L, 1, TABLE);
  lua_pushvalue(L, idx);
  lua_rawseti(L, -2, it->count + 1);
  lua_pop(L, 1);
  counted(L, it, 1);
}

static TL_GIL void lifo_take(lua_State *L, Items *it) {
  lua_getiuservalue(L, 1, TABLE);
  lua_rawgeti(L, -1, it->count);
  lua_pushnil(L);
  lua_rawseti(L, -3, it->count);
  lua_remove(L, -2);
  counted(L, it, -1);
}

/* --- least first ---------------------------------------------------------- */

enum { ITEM = 1, KEY = 2, NUMBER = 3, SLOTS = 3 };

static lua_Integer slot(lua_Integer i, int which) {
  return (i - 1) * SLOTS + which;
}

/* Whether '<' looks at the first element of the item at idx. */
static TL_GIL bool has_first(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) return false;
  bool by_lt = lua_getiuservalue(L, 1, ITEMS_LT) != LUA_TNIL;
  lua_pop(L, 1);
  if (by_lt || luaL_getmetafield(L, idx, "__lt") == LUA_TNIL) return !by_lt;
  lua_pop(L, 1);
  return false;
}

void items_pushkey(lua_State *L, int idx) {
  if (lua_getiuservalue(L, 1, ITEMS_KEY) != LUA_TNIL) {
    lua_pushvalue(L, idx);
    lua_call(L, 1, 1);
    return;
  }
  lua_pop(L, 1);
  if (has_first(L, idx))
    lua_geti(L, idx, 1);
  else
    lua_pushvalue(L, idx);
}

/* Whether the key at index a is less than that at b, by 'lt' or by '<'. */
static TL_GIL bool key_less(lua_State *L, int a, int b) {
  if (lua_getiuservalue(L, 1, ITEMS_LT) == LUA_TNIL) {
    lua_pop(L, 1);
    return lua_compare(L, a, b, LUA_OPLT);
  }
  lua_pushvalue(L, a);
  lua_pushvalue(L, b);
  lua_call(L, 2, 1);
  bool less = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return less;
}

static TL_GIL lua_Integer number_of(lua_State *L, int heap, lua_Integer i) {
  lua_rawgeti(L, heap, slot(i, NUMBER));
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

/* Whether item i comes before item j: of equal ones, that which came first.
 * May run Lua code. */
static TL_GIL bool comes_before(lua_State *L, int heap, lua_Integer i,
                                lua_Integer j) {
  bool first = number_of(L, heap, i) < number_of(L, heap, j);
  lua_rawgeti(L, heap, slot(i, KEY));
  lua_rawgeti(L, heap, slot(j, KEY));
  int top = lua_gettop(L);
  bool before = first ? !key_less(L, top, top - 1) : key_less(L, top - 1, top);
  lua_pop(L, 2);
  return before;
}

static TL_GIL void move(lua_State *L, int heap, lua_Integer from,
                        lua_Integer to) {
  for (int which = ITEM; which <= NUMBER; which++) {
    lua_rawgeti(L, heap, slot(from, which));
    lua_rawseti(L, heap, slot(to, which));
  }
}

/* Slots never hold nil, so that writing to one that exists cannot fail. */
static TL_GIL void store(lua_State *L, Items *it, int heap, int idx,
                         lua_Integer to) {
  if (lua_isnil(L, idx))
    lua_pushlightuserdata(L, (void *)&nil_item);
  else
    lua_pushvalue(L, idx);
  lua_rawseti(L, heap, slot(to, ITEM));
  lua_pushvalue(L, idx + 1);
  lua_rawseti(L, heap, slot(to, KEY));
  lua_pushinteger(L, ++it->arrivals);
  lua_rawseti(L, heap, slot(to, NUMBER));
}

/* Adds the slots of item i, which may fail; nothing has changed then. */
static TL_GIL void add_slots(lua_State *L, int heap, lua_Integer i) {
  for (int which = ITEM; which <= NUMBER; which++) {
    lua_pushboolean(L, false);
    lua_rawseti(L, heap, slot(i, which));
  }
}

static TL_GIL bool heap_add(lua_State *L, Items *it, int idx) {
  if (lua_getiuservalue(L, 1, TABLE) == LUA_TNIL) {
    lua_pop(L, 1);
    return false; /* emptied and dropped meanwhile */
  }
  int heap = lua_gettop(L);
  lua_Integer seen = it->changes, place = it->count + 1;
  while (place > 1) {
    lua_rawgeti(L, heap, slot(place / 2, KEY));
    bool rises = key_less(L, idx + 1, heap + 1);
    lua_settop(L, heap);
    if (it->changes != seen) {
      lua_settop(L, heap - 1);
      return false;
    }
    if (!rises) break;
    place /= 2;
  }
  add_slots(L, heap, it->count + 1);
  for (lua_Integer i = it->count + 1; i > place; i /= 2)
    move(L, heap, i / 2, i);
  store(L, it, heap, idx, place);
  lua_settop(L, heap - 1);
  counted(L, it, 1);
  return true;
}

/* Finds the way that the gap at the root takes downwards until the last item
 * fits in. Returns its length, -1 if the heap was changed meanwhile. */
static TL_GIL int find_way(lua_State *L, Items *it, int heap,
                           lua_Integer way[DEPTH]) {
  lua_Integer seen = it->changes, last = it->count;
  int n = 0;
  for (lua_Integer child = 2; child < last; child *= 2) {
    if (child + 1 < last && comes_before(L, heap, child + 1, child)) child++;
    if (it->changes != seen) return -1;
    bool up = comes_before(L, heap, child, last);
    if (it->changes != seen) return -1;
    if (!up) break;
    way[n++] = child;
  }
  return n;
}

static TL_GIL bool heap_take(lua_State *L, Items *it) {
  lua_Integer way[DEPTH], gap = 1;
  lua_getiuservalue(L, 1, TABLE);
  int heap = lua_gettop(L);
  int n = find_way(L, it, heap, way);
  if (n < 0) {
    lua_settop(L, heap - 1);
    return false;
  }
  lua_rawgeti(L, heap, slot(1, ITEM));
  if (lua_touserdata(L, -1) == &nil_item) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  for (int i = 0; i < n; i++) {
    move(L, heap, way[i], gap);
    gap = way[i];
  }
  if (it->count > 1) move(L, heap, it->count, gap);
  add_slots(L, heap, it->count); /* forgets what was there */
  lua_remove(L, heap);
  counted(L, it, -1);
  return true;
}

/* --- any order ------------------------------------------------------------ */

void items_extend(lua_State *L, Items *it) {
  if (it->order != ITEMS_FIFO)
    make_table(L);
  else
    while (it->tail == ITEMS_BLOCK)
      extend_fifo(L, it);
}

bool items_add(lua_State *L, Items *it, int idx) {
  if (tl_likely(it->order == ITEMS_FIFO))
    fifo_add(L, it, idx);
  else if (it->order == ITEMS_LIFO)
    lifo_add(L, it, idx);
  else
    return heap_add(L, it, idx);
  return true;
}

bool items_take(lua_State *L, Items *it) {
  if (tl_likely(it->order == ITEMS_FIFO))
    fifo_take(L, it);
  else if (it->order == ITEMS_LIFO)
    lifo_take(L, it);
  else
    return heap_take(L, it);
  return true;
}

void items_clear(lua_State *L, Items *it) {
  static const int last[] = {
      [ITEMS_FIFO] = SPARE, [ITEMS_LIFO] = TABLE, [ITEMS_LEAST] = TABLE};
  for (int i = 1; i <= last[it->order]; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, i);
  }
  it->count = it->room = it->head = 0;
  it->tail = ITEMS_BLOCK;
  it->changes++;
}
