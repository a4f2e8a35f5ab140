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

# nvcc's own code is interpreted where nvcc is; under a sanitizer the first route is the one that it sees into.
find_program(SY_NVCC NAMES nvcc HINTS ${SY_CUDA_HINTS} PATH_SUFFIXES bin)
mark_as_advanced(SY_NVCC)
if(SY_USE_CUDA_ON_CPU AND SY_NVCC AND NOT SY_SANITIZE)
  set(SY_USE_PTX ON)
else()
  set(SY_USE_PTX OFF)
endif()

# sy_add_cuda_by_nvcc(target sources...): adds .cu sources to a target as nvcc compiles them, with their PTX inside, which
# sy_ptx interprets. The host's part is not optimised: it only launches. Headers take nvcc most of its time, so that it
# compiles half of the sources as one (unless SY_COMPILE_TOGETHER is off).
function(sy_add_cuda_by_nvcc target)
  set(flags ${SY_NVCC_FLAGS})
  list(REMOVE_ITEM flags -O3)
  # Not the system's own folder: what comes before it would be looked for behind it.
  set(folders "$<FILTER:$<TARGET_PROPERTY:Random123::Random123,INTERFACE_INCLUDE_DIRECTORIES>,EXCLUDE,^/usr/include$>")
  list(LENGTH ARGN num_sources)
  set(num_groups 2)
  if(NOT SY_COMPILE_TOGETHER OR num_sources LESS num_groups)
    set(num_groups ${num_sources})
  endif()
  math(EXPR last_group "${num_groups} - 1")
  foreach(group RANGE ${last_group})
    set(text "")
    foreach(at RANGE ${group} ${num_sources} ${num_groups})
      if(at LESS num_sources)
        list(GET ARGN ${at} source)
        cmake_path(ABSOLUTE_PATH source NORMALIZE)
        cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${PROJECT_SOURCE_DIR}")
        string(APPEND text "#include \"${source}\"\n")
      endif()
    endforeach()
    set(together "${CMAKE_CURRENT_BINARY_DIR}/${target}_${group}.cu")
    file(CONFIGURE OUTPUT "${together}" CONTENT "${text}")
    add_custom_command(OUTPUT "${together}.o"
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} "${SY_NVCC}" ${flags} -gencode=arch=compute_90,code=compute_90 --no-compress
              -lineinfo -ccbin "${CMAKE_CXX_COMPILER}" "-I${PROJECT_SOURCE_DIR}"
              "$<$<BOOL:${folders}>:-isystem=$<JOIN:${folders},;-isystem=>>"
              -Xcompiler=-O0,-w,-Wno-psabi -MD -MF "${together}.d" -c "${together}" -o "${together}.o"
      DEPENDS "${together}" DEPFILE "${together}.d" COMMENT "nvcc ${target} ${group}" COMMAND_EXPAND_LISTS VERBATIM)
    target_sources(${target} PRIVATE "${together}.o")
  endforeach()
  target_link_libraries(${target} PRIVATE sy_ptx)
endfunction()
