// The symbol of libswitchyard_cuda.so by which the program comes to NCCL (comm/nccl/nccl_group.hpp).
#include <cstdio>
#include <exception>

#include "comm/nccl/gpu_group.hpp"

extern "C" void switchyard_load_nccl(sy::comm::NcclModuleCall& call) {
    const auto refuse = [&](const char* reason) {
        std::snprintf(call.message, sizeof(call.message), "%s", reason);
    };
    if (call.device_bytes != sizeof(sy::Device)) {
        refuse("the module of CUDA is of another version than the program; build both from the same sources");
        return;
    }
    // Nothing is thrown through a C symbol.
    try {
        call.library = sy::comm::make_nccl_library(sy::comm::load_nccl_calls()).release();
    } catch (const std::exception& error) {
        refuse(error.what());
    }
}
