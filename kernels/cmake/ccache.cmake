# Compiles through ccache where it is found, unless another launcher is given. Paths are cached relative to the source
# folder, so a clone in another place finds what this one has compiled.
if(CMAKE_CXX_COMPILER_LAUNCHER AND NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "(^|/)ccache$")
  set(SY_CCACHE_SUMMARY "not used; compiles go through ${CMAKE_CXX_COMPILER_LAUNCHER}")
  return()
endif()
find_program(SY_CCACHE ccache DOC "Compiler cache; empty: none")
if(NOT SY_CCACHE)
  set(SY_CCACHE_SUMMARY "not found")
  return()
endif()
set(SY_CCACHE_SUMMARY "${SY_CCACHE}")
foreach(language C CXX)
  # Precompiled headers need the sloppiness.
  set(CMAKE_${language}_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${SY_CCACHE})
endforeach()
