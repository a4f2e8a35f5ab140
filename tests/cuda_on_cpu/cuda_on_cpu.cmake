# CUDA on the CPU, for the tests: libraries that stand in for the toolkit's, and a function that compiles .cu sources
# against them with the host's compiler. tests/cuda_on_cpu/README.md tells how.
set(SY_CUDA_ON_CPU AUTO CACHE STRING "Run the CUDA bodies on the CPU in tests: AUTO (where the toolkit's headers and Boost.Context are found), ON or OFF")
set_property(CACHE SY_CUDA_ON_CPU PROPERTY STRINGS AUTO ON OFF)

find_path(SY_CUDA_INCLUDE_DIR NAMES cuda_runtime.h HINTS ${SY_CUDA_HINTS} PATH_SUFFIXES include)
find_package(Boost 1.75 QUIET COMPONENTS context)
mark_as_advanced(SY_CUDA_INCLUDE_DIR)

set(SY_CUDA_ON_CPU_MISSING "")
if(NOT SY_CUDA_INCLUDE_DIR)
  list(APPEND SY_CUDA_ON_CPU_MISSING "the CUDA toolkit's headers")
endif()
if(NOT TARGET Boost::context)
  list(APPEND SY_CUDA_ON_CPU_MISSING "Boost.Context")
endif()
list(JOIN SY_CUDA_ON_CPU_MISSING " and " SY_CUDA_ON_CPU_MISSING)
if(SY_CUDA_ON_CPU STREQUAL "AUTO")
  if(SY_CUDA_ON_CPU_MISSING)
    set(SY_USE_CUDA_ON_CPU OFF)
  else()
    set(SY_USE_CUDA_ON_CPU ON)
  endif()
elseif(SY_CUDA_ON_CPU AND SY_CUDA_ON_CPU_MISSING)
  message(FATAL_ERROR "SY_CUDA_ON_CPU=ON, but ${SY_CUDA_ON_CPU_MISSING} cannot be found; jobs/install_dependencies "
                      "--with-cuda brings what is not the toolkit's, CUDA_HOME names the toolkit")
else()
  set(SY_USE_CUDA_ON_CPU ${SY_CUDA_ON_CPU})
endif()

# sy_add_cuda_on_cpu(target sources...): adds .cu sources to a target, which the host's compiler compiles against the
# emulation, and against that of cuBLAS where its headers are. A target of that name has to be there.
function(sy_add_cuda_on_cpu target)
  target_sources(${target} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES LANGUAGE CXX)
  target_link_libraries(${target} PRIVATE $<TARGET_NAME_IF_EXISTS:sy_cublas_emulation> sy_cuda_emulation)
endfunction()
