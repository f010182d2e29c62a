# What is installed: program, library, headers, the stubs that editors read
# (modules/ installs its own), and the package files for CMake and pkg-config.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tidelock)

install(TARGETS program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS tidelock EXPORT tidelockTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  NAMELINK_COMPONENT Development)
install(DIRECTORY host/include/ ${PROJECT_BINARY_DIR}/include/
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY bindings/types
  DESTINATION ${CMAKE_INSTALL_DATADIR}/tidelock)

install(EXPORT tidelockTargets NAMESPACE tidelock:: DESTINATION ${package_dir})
configure_package_config_file(host/pkg/tidelockConfig.cmake.in
  tidelockConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(tidelockConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/tidelockConfig.cmake
  ${PROJECT_BINARY_DIR}/tidelockConfigVersion.cmake
  DESTINATION ${package_dir})

# The prefix is found from the .pc file's own place, so the tree can be moved.
set(pc_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_to_prefix ${pc_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(host/pkg/tidelock.pc.in tidelock.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tidelock.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
