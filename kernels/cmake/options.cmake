# Interface targets that carry every flag: nothing is set globally.
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(sy_options INTERFACE)
target_compile_features(sy_options INTERFACE cxx_std_20)
target_include_directories(sy_options INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
# Contraction off: a product and a sum round the same way in a vector loop and in its tail, and on every layout.
# Programs that use the installed libraries get these flags too: functions of headers are compiled in both.
target_compile_options(sy_options INTERFACE -ffp-contract=off -fno-math-errno -fopenmp-simd -Wno-psabi)
# Places in messages are named from the root of the tree, whether the compiler is given whole paths or ccache's short ones.
file(RELATIVE_PATH SY_SOURCE_FROM_BUILD "${PROJECT_BINARY_DIR}" "${PROJECT_SOURCE_DIR}")
target_compile_options(sy_options INTERFACE
  "$<BUILD_INTERFACE:-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>" "$<BUILD_INTERFACE:-fmacro-prefix-map=${SY_SOURCE_FROM_BUILD}=>")

add_library(sy_warnings INTERFACE)
target_compile_options(sy_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow
  $<$<BOOL:${SY_WARNINGS_AS_ERRORS}>:-Werror>)

add_library(sy_sanitizers INTERFACE)
if(SY_SANITIZE)
  target_compile_options(sy_sanitizers INTERFACE -fsanitize=${SY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(SY_SANITIZE MATCHES address)
    # The address sanitizer stops there too; this check alone costs an eighth of the build's time.
    target_compile_options(sy_sanitizers INTERFACE -fno-sanitize=null)
  endif()
  target_link_options(sy_sanitizers INTERFACE -fsanitize=${SY_SANITIZE})
  # One body of each operation instead of one for every instruction set: three instrumented ones take long to compile
  # and are the same source.
  target_compile_definitions(sy_sanitizers INTERFACE SY_ONE_ISA)
  # That one is for the processor's own fused multiply-add, where it has one: without, a lane of simd::fma is a call.
  include(CheckCXXSourceRuns)
  check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"x86-64-v3\") ? 0 : 1; }" SY_PROCESSOR_IS_V3)
  if(SY_PROCESSOR_IS_V3)
    target_compile_options(sy_sanitizers INTERFACE -march=x86-64-v3)
  endif()
endif()

# Code that runs once or waits: tests, the command line.
add_library(sy_cold INTERFACE)
target_compile_options(sy_cold INTERFACE $<$<CONFIG:Release>:-O1>)

# The flags of every target of the project.
add_library(sy_common INTERFACE)
target_link_libraries(sy_common INTERFACE sy_options $<BUILD_INTERFACE:sy_warnings> sy_sanitizers)
