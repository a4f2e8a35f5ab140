# sy_headers(target [PUBLIC headers...] [PRIVATE headers...]): every header of a library is listed, relative to the folder
# that lists it, as tests/layering/check sees to. The public ones are installed: those that state contracts, and what
# they include.
function(sy_headers target)
  cmake_parse_arguments(arg "" "" "PUBLIC;PRIVATE" ${ARGN})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${arg_PUBLIC})
  target_sources(${target} PRIVATE ${arg_PRIVATE})
endfunction()
