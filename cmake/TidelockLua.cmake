# The target 'lua': the system's shared Lua 5.4, or, for sanitizers and the
# strict build, Lua compiled here from Debian's source package, so that it is
# instrumented like the rest.
if(NOT TIDELOCK_LUA_FROM_SOURCE)
  find_package(Lua 5.4 REQUIRED)
  add_library(lua INTERFACE)
  target_include_directories(lua SYSTEM INTERFACE ${LUA_INCLUDE_DIR})
  target_link_libraries(lua INTERFACE ${LUA_LIBRARIES})
  # The archive for the program.
  find_library(LUA_ARCHIVE liblua5.4.a)
  add_library(lua_program INTERFACE)
  target_include_directories(lua_program SYSTEM INTERFACE ${LUA_INCLUDE_DIR})
  if(LUA_ARCHIVE)
    target_link_libraries(lua_program INTERFACE ${LUA_ARCHIVE} m)
  else()
    target_link_libraries(lua_program INTERFACE ${LUA_LIBRARIES})
  endif()
  return()
endif()

set(TIDELOCK_LUA_SOURCE ${PROJECT_SOURCE_DIR}/build/lua-source CACHE PATH
  "Debian's lua5.4 source package, unpacked; fetched if it is not there")
if(NOT EXISTS ${TIDELOCK_LUA_SOURCE}/src/lua.h)
  message(STATUS "Fetching Debian's source package of Lua")
  execute_process(
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/fetch-lua ${TIDELOCK_LUA_SOURCE}
    RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "Lua's sources could not be fetched; put them into "
      "${TIDELOCK_LUA_SOURCE} (so that src/lua.h is there)")
  endif()
endif()

# Debian's luaconf.h includes this file for the path of C modules.
file(CONFIGURE OUTPUT lua/lua5.4-deb-multiarch.h
  CONTENT "#define DEB_HOST_MULTIARCH \"${CMAKE_C_LIBRARY_ARCHITECTURE}\"\n")

set(lua_src ${TIDELOCK_LUA_SOURCE}/src)
set(lua_files
  lapi lauxlib lbaselib lcode lcorolib lctype ldblib ldebug ldo ldump lfunc lgc
  linit liolib llex lmathlib lmem loadlib lobject lopcodes loslib lparser
  lstate lstring lstrlib ltable ltablib ltm lundump lutf8lib lvm lzio)
list(TRANSFORM lua_files REPLACE "(.+)" "${lua_src}/\\1.c")
add_library(lua SHARED ${lua_files} host/strict/check.c)
# Another file name than Debian's, so that the two are never taken for one.
set_target_properties(lua PROPERTIES OUTPUT_NAME lua5.4-instrumented)
target_include_directories(lua SYSTEM PUBLIC ${lua_src}
  ${PROJECT_BINARY_DIR}/lua)
target_compile_options(lua PRIVATE -std=gnu99)
target_compile_definitions(lua PRIVATE LUA_USE_LINUX LUA_COMPAT_5_3
  ${TIDELOCK_LUA_DEFINITIONS})
if(TIDELOCK_STRICT)
  target_include_directories(lua PRIVATE host/strict)
  target_compile_definitions(lua PRIVATE LUA_USER_H="luauser.h")
endif()
target_link_libraries(lua PRIVATE m ${CMAKE_DL_LIBS})
add_library(lua_program ALIAS lua)
