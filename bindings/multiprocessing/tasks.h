/* tasks.h - what a task of a pool consists of: a head, the code of the
 * function, and the parcel of the arguments. */
#ifndef TL_TASKS_H
#define TL_TASKS_H

#include "bind.h"

typedef struct TaskHead {
  uint64_t id;
  uint32_t mode;
  uint32_t code_size; /* bytes of the function, behind this */
} TaskHead;

/* Functions of "tidelock._pool"; see tasks.c. */
int task_captured(lua_State *L) TL_GIL;
int task_captures(lua_State *L) TL_GIL;
int task_encode(lua_State *L) TL_GIL;
int task_inline(lua_State *L) TL_GIL;
int task_open(lua_State *L) TL_GIL;
int task_store(lua_State *L) TL_GIL;
void task_init(lua_State *L) TL_GIL; /* makes the class of what they need */

#endif
