# The standard headers take longer to read than most of our sources take to compile, so every target reads them compiled.
# Sources still name what they use: -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without (the preset coverage does).
# None is of this tree: ccache gives all clones the same compiled headers, and `#pragma once` in them knows files by the path
# of the clone that compiled them, so that another clone's sources would read such a header twice.
set(SY_STANDARD_HEADERS
  <algorithm> <array> <atomic> <chrono> <cmath> <concepts> <condition_variable> <cstdint> <cstring> <deque> <exception>
  <filesystem> <fstream> <functional> <iomanip> <iostream> <iterator> <limits> <map> <memory> <mutex> <numeric> <optional>
  <set> <span> <sstream> <stdexcept> <string> <string_view> <thread> <type_traits> <utility> <variant> <vector>)
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "// What a target that owns precompiled headers compiles.\n")

# sy_add_precompiled(name LIBRARIES ... HEADERS ...): a target to reuse precompiled headers from.
function(sy_add_precompiled name)
  cmake_parse_arguments(arg "" "" "LIBRARIES;HEADERS" ${ARGN})
  add_library(${name} OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${arg_HEADERS})
endfunction()

sy_add_precompiled(sy_precompiled LIBRARIES sy_common HEADERS ${SY_STANDARD_HEADERS})
