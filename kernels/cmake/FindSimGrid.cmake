# SimGrid with its MPI (SMPI), as the target SimGrid::smpi. Looked for in SY_SIMGRID first, a folder as
# jobs/install_dependencies --with-simgrid makes it: Debian's headers cannot be installed beside a newer Boost.
if(DEFINED ENV{SY_SIMGRID})
  set(SY_SIMGRID "$ENV{SY_SIMGRID}" CACHE PATH "Where SimGrid's headers are, if not in the system")
else()
  set(SY_SIMGRID "$ENV{HOME}/.cache/switchyard/simgrid" CACHE PATH "Where SimGrid's headers are, if not in the system")
endif()
find_path(SimGrid_INCLUDE_DIR NAMES simgrid/s4u.hpp HINTS "${SY_SIMGRID}" PATH_SUFFIXES usr/include include)
find_library(SimGrid_LIBRARY NAMES simgrid HINTS "${SY_SIMGRID}"
             PATH_SUFFIXES "usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}" usr/lib lib)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SimGrid
  REQUIRED_VARS SimGrid_LIBRARY SimGrid_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "jobs/install_dependencies --with-simgrid brings it, SY_SIMGRID names another folder")
if(SimGrid_FOUND AND NOT TARGET SimGrid::smpi)
  add_library(SimGrid::smpi UNKNOWN IMPORTED)
  set_target_properties(SimGrid::smpi PROPERTIES
    IMPORTED_LOCATION "${SimGrid_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${SimGrid_INCLUDE_DIR}/smpi;${SimGrid_INCLUDE_DIR}")
endif()
mark_as_advanced(SimGrid_INCLUDE_DIR SimGrid_LIBRARY)
