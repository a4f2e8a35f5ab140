#pragma once

#include <memory>

#include "comm/nccl/calls.hpp"
#include "comm/nccl/nccl_group.hpp"

namespace sy::comm {

/// NCCL's own communicators, through whichever library `calls` are of.
std::unique_ptr<NcclLibrary> make_nccl_library(const NcclCalls& calls);

}  // namespace sy::comm
