#pragma once

#include <mpi.h>

#include "comm/communicator.hpp"

namespace sy::comm {

/// MPI's own communicator behind `comm`, borrowed, for libraries that need one (parallel HDF5); MPI_COMM_NULL when
/// `comm` is not MPI's.
MPI_Comm mpi_handle(Communicator& comm);

}  // namespace sy::comm
