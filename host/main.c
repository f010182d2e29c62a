/* main.c - the program: lua5.4's command line, and a script's end.
 *
 * The end of a run: the main chunk returns or raises; the threads and
 * processes that are to be waited for are (Ctrl-C then names the threads, a
 * second one exits); the interpreter is closed. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chunk.h"
#include "repl.h"
#include "tidelock/tidelock.h"

/* The program's interpreter, for the signal handlers. */
static tl_interp *interp;

typedef struct options {
  bool interactive, version, execute, no_env;
  int script; /* index of the script, or of the option that is wrong */
} options;

typedef struct program {
  int argc;
  char **argv;
  const char *name; /* in front of messages */
} program;

/* --- Options ------------------------------------------------------------ */

typedef enum scanned { OPTION, LAST, BAD } scanned;

/* Reads the option at *i; moves *i to the last argument that belongs to it,
 * or, when the options end, to the script. */
static scanned scan_option(char **argv, int *i, options *o) {
  const char *arg = argv[*i];
  if (arg[0] != '-' || arg[1] == '\0') return LAST;
  bool more = arg[2] != '\0';
  switch (arg[1]) {
  case '-':
    if (more) return BAD;
    ++*i;
    return LAST;
  case 'E':
    o->no_env = true;
    break;
  case 'W':
    break;
  case 'i':
    o->interactive = o->version = true;
    break;
  case 'v':
    o->version = true;
    break;
  case 'e':
  case 'l':
    if (arg[1] == 'e') o->execute = true;
    if (more) return OPTION;
    if (argv[*i + 1] == NULL || argv[*i + 1][0] == '-') return BAD;
    ++*i;
    return OPTION;
  default:
    return BAD;
  }
  return more ? BAD : OPTION;
}

/* False for a wrong option. */
static bool scan_options(char **argv, options *o) {
  *o = (options){.script = 1};
  scanned seen = OPTION;
  for (int i = 1; argv[i] != NULL && seen == OPTION; i++) {
    o->script = i;
    seen = scan_option(argv, &i, o);
    if (seen == LAST) o->script = i;
    if (seen == OPTION) o->script = i + 1;
  }
  return seen != BAD;
}

static void print_usage(const program *p, const char *bad) {
  bool incomplete = bad[1] == 'e' || bad[1] == 'l';
  lua_writestringerror("%s: ", p->name);
  lua_writestringerror(
      incomplete ? "'%s' needs argument\n" : "unrecognized option '%s'\n", bad);
  lua_writestringerror(
      "usage: %s [options] [script [args]]\n"
      "Available options are:\n"
      "  -e stat   execute string 'stat'\n"
      "  -i        enter interactive mode after executing 'script'\n"
      "  -l mod    require library 'mod' into global 'mod'\n"
      "  -l g=mod  require library 'mod' into global 'g'\n"
      "  -v        show version information\n"
      "  -E        ignore environment variables\n"
      "  -W        turn warnings on\n"
      "  --        stop handling options\n"
      "  -         stop handling options and execute stdin\n",
      p->name);
}

static void print_version(void) {
  lua_writestring(LUA_COPYRIGHT, strlen(LUA_COPYRIGHT));
  lua_writeline();
}

/* --- Chunks ------------------------------------------------------------- */

/* Each of these returns an exit code, having reported what was raised. */

/* Calls what has been loaded, or reports the message. */
static int run_loaded(lua_State *L, const program *p, int status) {
  int code = status == LUA_OK ? chunk_call(L, 0, 0) : CHUNK_FAILED;
  return chunk_report(L, code, p->name);
}

static int run_string(lua_State *L, const program *p, const char *text,
                      const char *name) {
  return run_loaded(L, p, luaL_loadbuffer(L, text, strlen(text), name));
}

/* "module" or "global=module" */
static int run_library(lua_State *L, const program *p, const char *spec) {
  const char *equals = strchr(spec, '=');
  lua_pushlstring(L, spec, equals ? (size_t)(equals - spec) : strlen(spec));
  lua_getglobal(L, "require");
  lua_pushstring(L, equals ? equals + 1 : spec);
  int code = chunk_call(L, 1, 1);
  if (code != 0) {
    lua_remove(L, -2);
    return chunk_report(L, code, p->name);
  }
  lua_setglobal(L, lua_tostring(L, -2));
  lua_pop(L, 1);
  return 0;
}

/* The environment's start-up code, if any. */
static int run_init(lua_State *L, const program *p) {
  static const char *const names[] = {"=LUA_INIT" LUA_VERSUFFIX, "=LUA_INIT"};
  for (int i = 0; i < 2; i++) {
    const char *init = getenv(names[i] + 1);
    if (init == NULL) continue;
    if (init[0] == '@') return run_loaded(L, p, luaL_loadfile(L, init + 1));
    return run_string(L, p, init, names[i]);
  }
  return 0;
}

/* The options that run something, in their order. */
static int run_options(lua_State *L, const program *p, int end) {
  int code = 0;
  for (int i = 1; i < end && code == 0; i++) {
    char option = p->argv[i][1];
    if (option == 'W') lua_warning(L, "@on", 0);
    if (option != 'e' && option != 'l') continue;
    const char *value = p->argv[i] + 2;
    if (*value == '\0') value = p->argv[++i];
    code = option == 'e' ? run_string(L, p, value, "=(command line)")
                         : run_library(L, p, value);
  }
  return code;
}

static int push_arguments(lua_State *L) {
  if (lua_getglobal(L, "arg") != LUA_TTABLE)
    return luaL_error(L, "'arg' is not a table");
  int table = lua_gettop(L);
  int n = (int)luaL_len(L, table);
  luaL_checkstack(L, n + 3, "too many arguments to script");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return n;
}

static int load_file(lua_State *L, const char *name) {
  if (name == NULL) return chunk_load_stdin(L);
  return luaL_loadfile(L, name) == LUA_OK ? 0 : CHUNK_FAILED;
}

/* The main script; name NULL is standard input. */
static int run_script(lua_State *L, const program *p, const char *name) {
  int code = load_file(L, name);
  if (code == 0) code = chunk_call(L, push_arguments(L), 0);
  return chunk_report(L, code, p->name);
}

/* Standard input in the place of a script. As in lua5.4, what it raises does
 * not make the exit code. */
static int run_stdin(lua_State *L, const program *p) {
  int code = load_file(L, NULL);
  if (code == 0) code = chunk_call(L, 0, 0);
  chunk_report(L, code, p->name);
  return code == CHUNK_INTERRUPTED ? code : 0;
}

/* --- The run ------------------------------------------------------------ */

/* The script is at arg[0], or else the program; what stands before it has
 * negative indices. */
static void set_arg(lua_State *L, const program *p, int script) {
  if (script == p->argc) script = 0;
  lua_createtable(L, p->argc - script - 1, script + 1);
  for (int i = 0; i < p->argc; i++) {
    lua_pushstring(L, p->argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static void prepare(lua_State *L, const program *p, const options *o) {
  luaL_checkversion(L);
  if (o->no_env) {
    lua_pushboolean(L, true);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  tl_openlibs(L);
  set_arg(L, p, o->script);
  lua_gc(L, LUA_GCGEN, 0, 0);
}

static const char *script_name(const program *p, int script) {
  const char *name = p->argv[script];
  bool is_stdin =
      strcmp(name, "-") == 0 && strcmp(p->argv[script - 1], "--") != 0;
  return is_stdin ? NULL : name;
}

/* What comes after the script, or instead of it. */
static int run_rest(lua_State *L, program *p, const options *o) {
  bool nothing = o->script == p->argc && !o->execute && !o->version;
  if (nothing && !isatty(STDIN_FILENO)) return run_stdin(L, p);
  if (nothing) print_version();
  if (nothing || o->interactive) {
    const char *name = p->name;
    p->name = NULL; /* nor does what _PROMPT raises get one */
    repl_run(L);
    p->name = name;
  }
  return 0;
}

/* The program, run in protected mode. Returns the exit code. */
static int run(lua_State *L) {
  program *p = lua_touserdata(L, 1);
  options o;
  lua_settop(L, 0);
  if (!scan_options(p->argv, &o)) {
    print_usage(p, p->argv[o.script]);
    return lua_pushinteger(L, EXIT_FAILURE), 1;
  }
  if (o.version) print_version();
  prepare(L, p, &o);
  int code = o.no_env ? 0 : run_init(L, p);
  if (code == 0) code = run_options(L, p, o.script);
  if (code == 0 && o.script < p->argc)
    code = run_script(L, p, script_name(p, o.script));
  if (code == 0) code = run_rest(L, p, &o);
  return lua_pushinteger(L, code), 1;
}

static int run_protected(lua_State *L, program *p) {
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, p);
  int code;
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
    code = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  } else {
    code = tl_is_interrupt(L, -1) ? CHUNK_INTERRUPTED : CHUNK_FAILED;
    if (code == CHUNK_INTERRUPTED) luaL_tolstring(L, -1, NULL);
    chunk_report(L, code, p->name);
  }
  return code;
}

/* --- The end ------------------------------------------------------------ */

static int join_all(lua_State *L) {
  tl_join(L);
  return 0;
}

/* Tells on stderr which threads the end waits for. */
static void name_threads(lua_State *L) {
  static const char text[] =
      "local threading = require('tidelock.threading')\n"
      "local names = {}\n"
      "for _, t in ipairs(threading.enumerate()) do\n"
      "  local waited = not t.daemon and t ~= threading.main_thread()\n"
      "  if waited then names[#names + 1] = t.name end\n"
      "end\n"
      "return #names > 0 and table.concat(names, ', ') or 'processes'\n";
  if (luaL_loadbuffer(L, text, sizeof text - 1, "=exit") == LUA_OK)
    lua_pcall(L, 0, 1, 0);
  lua_writestringerror("still waiting for %s (Ctrl-C again to exit)\n",
                       lua_tostring(L, -1));
  lua_pop(L, 1);
}

/* Ends the process as it is, without closing the interpreter. A thread may be
 * stuck in writing to stdout: then what is left of it is lost. */
static _Noreturn void leave(int code) {
  if (ftrylockfile(stdout) == 0) fflush(stdout);
  _exit(code);
}

/* Waits for what is to be waited for; returns an exit code. */
static int join_protected(lua_State *L, const program *p) {
  for (bool again = false;; again = true) {
    lua_pushcfunction(L, join_all);
    int code = chunk_call(L, 0, 0);
    if (code != CHUNK_INTERRUPTED) return chunk_report(L, code, p->name);
    lua_pop(L, 1);
    if (again) leave(code);
    name_threads(L);
  }
}

/* --- Signals ------------------------------------------------------------ */

static void write_error(const char *text) {
  ssize_t n = write(STDERR_FILENO, text, strlen(text));
  (void)n; /* there is no one to tell */
}

/* Ctrl-C does not get through: whoever can still write the report has a
 * moment for it. */
static _Noreturn void give_up(void) {
  tl_request_dump(interp);
  nanosleep(&(struct timespec){.tv_nsec = 200L * 1000 * 1000}, NULL);
  write_error("interrupted again before the first interrupt got through\n");
  _exit(CHUNK_INTERRUPTED);
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The interrupt before this one may still be on its way to a main thread that
 * waits for the GIL; a moment later it is stuck. */
static void on_interrupt(int signal) {
  static volatile long long since; /* ms, when the pending one came */
  const int patience = 200;
  int saved = errno;
  (void)signal;
  if (!tl_interrupt(interp))
    since = now_ms();
  else if (now_ms() - since > patience)
    give_up();
  errno = saved;
}

static void on_quit(int signal) {
  (void)signal;
  tl_request_dump(interp);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* A thread's C stack is full: Lua's own limits do not count what C modules
 * take of it. Says so, and lets the fault happen again; a signal that was sent
 * does not, so it is raised. */
static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (info->si_code <= 0) raise(signal);
  const char *name = tl_overflowed(info->si_addr);
  if (name == NULL) return;
  write_error("C stack overflow in thread ");
  write_error(name);
  write_error(" (threading.stack_size gives new threads more)\n");
}
#endif

/* Ctrl-C makes a blocking call of the main thread return, the report does
 * not. */
static void set_signals(void) {
  struct sigaction interrupt = {.sa_handler = on_interrupt};
  struct sigaction quit = {.sa_handler = on_quit, .sa_flags = SA_RESTART};
  sigemptyset(&interrupt.sa_mask);
  sigemptyset(&quit.sa_mask);
  sigaction(SIGINT, &interrupt, NULL);
  sigaction(SIGQUIT, &quit, NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  struct sigaction fault = {.sa_sigaction = on_fault};
  fault.sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND;
  sigemptyset(&fault.sa_mask);
  sigaction(SIGSEGV, &fault, NULL);
#endif
}

static void reset_signals(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGQUIT, SIG_DFL);
}

int main(int argc, char **argv) {
  program p = {.argc = argc, .argv = argv, .name = "lua"};
  if (argc > 0 && argv[0][0] != '\0') p.name = argv[0];
  int failed = tl_init();
  tl_allow_fork(1);
  interp = failed ? NULL : tl_open();
  if (interp == NULL) {
    fprintf(stderr, "%s: cannot create state: %s\n", p.name,
            failed ? strerror(-failed) : "not enough memory");
    return EXIT_FAILURE;
  }
  lua_State *L = tl_state(interp);
  set_signals();
  int code = run_protected(L, &p);
  int joined = join_protected(L, &p);
  if (code == 0) code = joined;
  if (tl_forked(L)) {
    fflush(NULL);
    _exit(code);
  }
  reset_signals(); /* what __gc runs now ends as in lua5.4 */
  if (tl_close(interp) != 0) leave(code);
  return code;
}
