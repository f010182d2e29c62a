# Installs BUILD into a fresh prefix, moves that prefix, and builds and runs
# CONSUMER against it: by find_package and by pkg-config.
set(work ${BUILD}/package)
set(prefix ${work}/moved)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT
    COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE out ECHO_OUTPUT_VARIABLE)
  set(out "${out}" PARENT_SCOPE)
endfunction()

function(check_consumer)
  run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/${LIBDIR} ${ARGN})
  if(NOT out STREQUAL "42\n")
    message(FATAL_ERROR "the consumer printed: ${out}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/installed)
file(RENAME ${work}/installed ${prefix})

# The program finds its library wherever the tree stands.
run(${prefix}/${BINDIR}/tidelock -e "print(require('threading') ~= nil)")
if(NOT out STREQUAL "true\n")
  message(FATAL_ERROR "the installed program printed: ${out}")
endif()

# So does it its modules in files of their own.
foreach(module _hmac bigint)
  run(${prefix}/${BINDIR}/tidelock -e "print(type(require('tidelock.${module}')))")
  if(NOT out STREQUAL "table\n")
    message(FATAL_ERROR "the installed program printed: ${out}")
  endif()
  if(NOT EXISTS ${prefix}/${LIBDIR}/tidelock/${module}.so)
    message(FATAL_ERROR "${module}.so is not where it belongs")
  endif()
endforeach()

run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${work}/by-cmake -G ${GENERATOR}
  -DCMAKE_C_COMPILER=${CC} -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${work}/by-cmake)
check_consumer(${work}/by-cmake/consumer)

run(${CMAKE_COMMAND} -E env
  PKG_CONFIG_PATH=${prefix}/${LIBDIR}/pkgconfig
  ${PKG_CONFIG} --cflags --libs tidelock)
separate_arguments(flags UNIX_COMMAND "${out}")
run(${CC} -o ${work}/by-pkg-config ${CONSUMER}/consumer.c ${flags})
check_consumer(${work}/by-pkg-config)

# And for a library that a program loads with its symbols kept private.
run(${CC} -shared -fPIC -Dmain=plugin_main -o ${work}/plugin.so
  ${CONSUMER}/consumer.c ${flags})
run(${CC} -o ${work}/by-dlopen ${CONSUMER}/dlopen.c)
check_consumer(${work}/by-dlopen ${work}/plugin.so)
