#pragma once

#include <memory>
#include <string>

#include "tests/cuda_on_cpu/emulation/nccl/batch.hpp"

struct ncclComm {
    std::shared_ptr<sy::emulation::NcclRank> rank;
};

/// What the files of the stand-in share.
namespace sy::emulation {

/// Reports why a call is refused.
ncclResult_t refuse(ncclResult_t result, const std::string& why);
/// Whether another call may be made: none before the last one is over.
ncclResult_t check_free(ncclComm_t comm, const char* call);

}  // namespace sy::emulation
