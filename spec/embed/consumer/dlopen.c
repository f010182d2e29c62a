/* dlopen.c - loads a plugin that embeds tidelock, with RTLD_LOCAL, as editors
 * and games load theirs: runs its plugin_main. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
  void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  int (*run)(void) = NULL;
  if (plugin) *(void **)&run = dlsym(plugin, "plugin_main");
  if (run) return run();
  fprintf(stderr, "%s\n", dlerror());
  return 1;
}
