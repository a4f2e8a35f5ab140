#pragma once

#include <functional>

#include "comm/communicator.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// Runs body with all ranks of the job: MPI's under a launcher, otherwise a single rank without MPI.
/// @throws ConfigError when parallel.ranks asks for another number of ranks; whatever body throws
/// @par Collective
void with_world(const ParallelConfig& parallel, const std::function<void(comm::Communicator&)>& body);

}  // namespace sy::runtime
