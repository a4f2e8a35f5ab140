#pragma once

#include <string>

namespace sy::runtime {

/// Version of the HDF5 library that is loaded, and whether it writes in parallel: "1.10.8, parallel".
std::string hdf5_library();

}  // namespace sy::runtime
