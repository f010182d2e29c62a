/* Program start: a C program that does nothing, alternating with stock Lua. */
#include "bench.h"

int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1) return 0; /* the program that does nothing */
  char command[9000], self[4096];
  strcpy(self, sibling("b00_start"));
  snprintf(command, sizeof command,
           "exec '%s' --runs %ld -- '%s' nothing -- lua5.4 -e ''",
           sibling("alternate"), scaled(300, 10), self);
  double first, second, ratio;
  FILE *f = popen(command, "r");
  MUST(f);
  MUST(fscanf(f, "{\"first_ms\": %lf, \"second_ms\": %lf, \"ratio\": %lf",
              &first, &second, &ratio) == 3);
  while (fgetc(f) != EOF) {
  }
  MUST(pclose(f) == 0);
  emit("start", first, "ms", "lower", "start");
  emit("start", ratio, "x of lua5.4", "lower", "start_vs_lua");
  return 0;
}
