# sy_cuda_sources(sources...): sources of CUDA in the folder that lists them, bodies of operations and their device. They are
# compiled by nvcc for the module that the program loads (SY_WITH_CUDA), and by the host's compiler for tests
# (tests/cuda_on_cpu).
function(sy_cuda_sources)
  foreach(source ${ARGN})
    set_property(GLOBAL APPEND PROPERTY SY_CUDA_SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()

# How nvcc compiles kernels: contraction is off as on the CPU, and products say fmaf. The C++ is what the rest is written in,
# told on the command line, because CMake below 3.25.2 drops CUDA_STANDARD 20 without a word.
set(SY_NVCC_FLAGS -std=c++20 -O3 --extended-lambda --expt-relaxed-constexpr -fmad=false)
set(SY_CUDA_ARCHITECTURES "80;90;100" CACHE STRING "Compute capabilities that the module of CUDA has code for")

# cuBLAS: its headers when something of CUDA is built; the library itself is looked for when it runs.
if(DEFINED ENV{SY_CUDA_HEADERS})
  set(SY_CUDA_HEADERS "$ENV{SY_CUDA_HEADERS}" CACHE PATH "Where the headers of cuBLAS and NCCL are, if not in the toolkit")
else()
  set(SY_CUDA_HEADERS "$ENV{HOME}/.cache/switchyard/cuda" CACHE PATH "Where the headers of cuBLAS and NCCL are, if not in the toolkit")
endif()
set(SY_CUDA_HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda)
find_path(SY_CUBLAS_INCLUDE_DIR NAMES cublas_v2.h HINTS ${SY_CUDA_HINTS} "${SY_CUDA_HEADERS}" PATH_SUFFIXES include)
mark_as_advanced(SY_CUBLAS_INCLUDE_DIR)
# cuDNN, in the same way; tests build plans with the library itself.
find_path(SY_CUDNN_INCLUDE_DIR NAMES cudnn_graph.h HINTS ENV CUDNN_HOME ${SY_CUDA_HINTS} "${SY_CUDA_HEADERS}" PATH_SUFFIXES include)
find_library(SY_CUDNN NAMES cudnn libcudnn.so.9 HINTS ENV CUDNN_HOME ${SY_CUDA_HINTS} "${SY_CUDA_HEADERS}" PATH_SUFFIXES lib64 lib)
mark_as_advanced(SY_CUDNN_INCLUDE_DIR SY_CUDNN)

if(SY_WITH_CUDA)
  find_program(SY_NVCC NAMES nvcc HINTS ${SY_CUDA_HINTS} PATH_SUFFIXES bin)
  if(NOT SY_NVCC)
    message(FATAL_ERROR "SY_WITH_CUDA=ON, but nvcc was not found; install the CUDA toolkit (12.5 or later) and set "
                        "CUDA_HOME, or configure with -DSY_WITH_CUDA=OFF")
  endif()
endif()

# NCCL's header: the library itself is looked for when a run wants it.
find_path(SY_NCCL_INCLUDE_DIR NAMES nccl.h HINTS ENV NCCL_HOME ${SY_CUDA_HINTS} "${SY_CUDA_HEADERS}" PATH_SUFFIXES include)
mark_as_advanced(SY_NCCL_INCLUDE_DIR)
if(SY_WITH_NCCL STREQUAL "AUTO")
  set(SY_USE_NCCL OFF)
  if(SY_WITH_CUDA AND SY_NCCL_INCLUDE_DIR)
    set(SY_USE_NCCL ON)
  endif()
elseif(SY_WITH_NCCL AND NOT SY_WITH_CUDA)
  message(FATAL_ERROR "SY_WITH_NCCL=ON, but NCCL is a part of the module of CUDA; add -DSY_WITH_CUDA=ON, or configure with "
                      "-DSY_WITH_NCCL=OFF")
elseif(SY_WITH_NCCL AND NOT SY_NCCL_INCLUDE_DIR)
  message(FATAL_ERROR "SY_WITH_NCCL=ON, but nccl.h was not found; set NCCL_HOME, or run jobs/install_dependencies "
                      "--with-cuda, or configure with -DSY_WITH_NCCL=OFF")
else()
  set(SY_USE_NCCL ${SY_WITH_NCCL})
endif()

# Its device API, with which kernels put rows into the memory of other GPUs, came with 2.28.
set(SY_NCCL_DEVICE_API OFF)
if(SY_NCCL_INCLUDE_DIR AND EXISTS "${SY_NCCL_INCLUDE_DIR}/nccl_device.h")
  set(SY_NCCL_DEVICE_API ON)
endif()

# sy_nvcc_object(source variable flags...): has nvcc compile a source for all architectures of the module, and names the
# object that it makes in a variable.
function(sy_nvcc_object source variable)
  set(code "")
  foreach(architecture ${SY_CUDA_ARCHITECTURES})
    list(APPEND code "-gencode=arch=compute_${architecture},code=sm_${architecture}")
  endforeach()
  # Named again, the compiler's own folder would come before the headers that include it next.
  set(random123 "$<FILTER:$<TARGET_PROPERTY:Random123::Random123,INTERFACE_INCLUDE_DIRECTORIES>,EXCLUDE,^/usr/include$>")
  cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE name)
  string(REPLACE "/" "." name "${name}")
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}.o")
  add_custom_command(OUTPUT "${object}"
    COMMAND "${SY_NVCC}" ${SY_NVCC_FLAGS} ${code} -ccbin "${CMAKE_CXX_COMPILER}" "-I${PROJECT_SOURCE_DIR}" ${ARGN}
            "$<$<BOOL:${random123}>:-isystem=$<JOIN:${random123},;-isystem=>>"
            -Xcompiler=-fPIC,-Wno-psabi -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "nvcc ${name}" COMMAND_EXPAND_LISTS VERBATIM)
  set(${variable} "${object}" PARENT_SCOPE)
endfunction()

# sy_add_cuda_module(): libswitchyard_cuda.so beside the program. Links the toolkit's runtime as a static library and no
# driver, so that it loads, and says what is missing, where there is none; cuBLAS is opened when it is used.
function(sy_add_cuda_module)
  cmake_path(GET SY_NVCC PARENT_PATH toolkit)
  cmake_path(GET toolkit PARENT_PATH toolkit)
  find_library(SY_CUDART NAMES cudart_static HINTS "${toolkit}" PATH_SUFFIXES lib64 lib REQUIRED)
  get_property(sources GLOBAL PROPERTY SY_CUDA_SOURCES)
  set(parts "${CMAKE_CURRENT_SOURCE_DIR}/module_entry.cpp")
  if(SY_CUBLAS_INCLUDE_DIR)
    list(APPEND parts "${CMAKE_CURRENT_SOURCE_DIR}/cublas_library.cpp")
  endif()
  foreach(source ${sources})
    if(NOT source MATCHES "\\.cu$")
      list(APPEND parts "${source}")
      continue()
    endif()
    sy_nvcc_object("${source}" object)
    list(APPEND parts "${object}")
  endforeach()
  add_library(switchyard_cuda MODULE ${parts})
  target_include_directories(switchyard_cuda SYSTEM PRIVATE "${toolkit}/include")
  if(SY_CUBLAS_INCLUDE_DIR)
    target_include_directories(switchyard_cuda SYSTEM PRIVATE "${SY_CUBLAS_INCLUDE_DIR}")
    # Where the toolkit's own is, so that LD_LIBRARY_PATH need not name it.
    find_library(SY_CUBLAS NAMES cublas libcublas.so.13 libcublas.so.12 HINTS "${toolkit}" "${SY_CUDA_HEADERS}" PATH_SUFFIXES lib64 lib)
    mark_as_advanced(SY_CUBLAS)
    if(SY_CUBLAS)
      cmake_path(GET SY_CUBLAS PARENT_PATH folder)
      set_target_properties(switchyard_cuda PROPERTIES BUILD_RPATH "${folder}" INSTALL_RPATH "${folder}")
    endif()
  endif()
  set_target_properties(sy_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(switchyard_cuda PRIVATE sy_kernels "${SY_CUDART}" Threads::Threads ${CMAKE_DL_LIBS} rt)
  set_target_properties(switchyard_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endfunction()
