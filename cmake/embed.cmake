# Writes OUT: the Lua modules in the list MODULES, found under ROOT, as an array
# of C, closed by an entry without a name. See bindings/modules.h.
set(data "")
set(table "")
set(i 0)
foreach(module IN LISTS MODULES)
  string(REPLACE "." "/" path ${module})
  file(READ ${ROOT}/${path}.lua bytes HEX)
  string(LENGTH "${bytes}" size)
  math(EXPR size "${size} / 2")
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "((0x..,)(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?)"
    "\\1\n" bytes "${bytes}")
  string(APPEND data
    "static const unsigned char module_${i}[] = {\n${bytes}0};\n")
  string(APPEND table "    {\"${module}\", module_${i}, ${size}},\n")
  math(EXPR i "${i} + 1")
endforeach()
file(WRITE ${OUT} "/* Made by cmake/embed.cmake. */
#include \"modules.h\"

${data}
const struct tl_lua_module tl_lua_modules[] = {
${table}    {NULL, NULL, 0}};
")
