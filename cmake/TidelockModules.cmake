# add_tidelock_module(NAME TARGET LIBRARY PACKAGE file...): the module
# "tidelock.NAME" in a file of its own, linked to TARGET. Without that target it
# is left out, and CMake says which library and Debian package are missing, as
# bindings/somodules.c does when a script wants it.
#
# Lua's symbols and the public header's are the program's, or the library's.
set(modules_dir ${CMAKE_INSTALL_LIBDIR}/tidelock)

function(add_tidelock_module name target library package)
  if(NOT TARGET ${target})
    message(STATUS "Without the module '${name}': it needs ${library} "
      "(Debian's package ${package})")
    return()
  endif()
  add_library(so_${name} MODULE ${ARGN})
  target_include_directories(so_${name} PRIVATE
    ${PROJECT_SOURCE_DIR}/modules ${PROJECT_SOURCE_DIR}/host
    ${PROJECT_SOURCE_DIR}/host/include ${PROJECT_BINARY_DIR}/include)
  target_include_directories(so_${name} SYSTEM PRIVATE
    $<TARGET_PROPERTY:lua,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(so_${name} PRIVATE tl_options ${target})
  set_target_properties(so_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name}
    C_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tidelock-modules)
  add_dependencies(program so_${name}) # whoever builds it wants its modules
  install(TARGETS so_${name} LIBRARY DESTINATION ${modules_dir})
endfunction()
