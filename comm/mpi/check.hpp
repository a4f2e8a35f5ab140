#pragma once

#include <mpi.h>

#include "kernels/core/error.hpp"

namespace sy::comm::detail {

/// Throws CommError with the call's text, MPI's message and the place.
void check_mpi(int status, const char* call, const char* file, int line);

}  // namespace sy::comm::detail

#define SY_MPI(call) ::sy::comm::detail::check_mpi((call), #call, __FILE__, __LINE__)
