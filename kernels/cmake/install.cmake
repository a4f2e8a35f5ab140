# `cmake --install` puts the program into bin/, its jobs into share/switchyard/, and the libraries with their headers and
# a package (find_package(switchyard), targets sy::kernels, sy::comm and sy::model) where other projects find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(SY_PACKAGE_FOLDER "${CMAKE_INSTALL_LIBDIR}/cmake/switchyard")

install(TARGETS switchyard)
if(SY_WITH_CUDA)
  install(TARGETS switchyard_cuda LIBRARY DESTINATION lib) # where the program looks for it
endif()
install(DIRECTORY jobs/configs jobs/scaling jobs/slurm jobs/studies DESTINATION "${CMAKE_INSTALL_DATADIR}/switchyard/jobs"
  USE_SOURCE_PERMISSIONS)
install(PROGRAMS jobs/launch jobs/prepare_text DESTINATION "${CMAKE_INSTALL_DATADIR}/switchyard/jobs")

set(exported sy_kernels sy_comm sy_model sy_common sy_options sy_sanitizers)
foreach(target IN LISTS exported)
  string(REPLACE "sy_" "" name ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
endforeach()
# The sets of headers are checked by the target all_verify_interface_header_sets: each header compiles alone.
set_target_properties(sy_kernels sy_comm sy_model PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
# Their includes begin at the root of this tree, which becomes include/switchyard.
install(TARGETS ${exported} EXPORT switchyardTargets
  FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/switchyard")
install(EXPORT switchyardTargets NAMESPACE sy:: DESTINATION "${SY_PACKAGE_FOLDER}")
configure_package_config_file(kernels/cmake/switchyardConfig.cmake.in "${PROJECT_BINARY_DIR}/switchyardConfig.cmake"
  INSTALL_DESTINATION "${SY_PACKAGE_FOLDER}")
# Before 1.0 a minor version may change what is installed.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/switchyardConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/switchyardConfig.cmake" "${PROJECT_BINARY_DIR}/switchyardConfigVersion.cmake"
  kernels/cmake/FindRandom123.cmake DESTINATION "${SY_PACKAGE_FOLDER}")
