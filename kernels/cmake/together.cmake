# Small sources of a folder share most of what they include and instantiate; compiled as one they take a fraction of the
# time from scratch, and more after a change of one of them.
option(SY_COMPILE_TOGETHER "Compile the small sources of a folder as one: faster from scratch, slower after a change" ON)

# sy_compile_together(target GROUP sources...): as one. Two groups of a target have two names.
function(sy_compile_together target group)
  if(SY_COMPILE_TOGETHER)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
    set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES UNITY_GROUP ${group})
  endif()
endfunction()
