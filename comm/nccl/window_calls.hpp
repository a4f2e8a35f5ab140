#pragma once

#include <nccl_device.h>

#include <string>

#include "comm/nccl/calls.hpp"

namespace sy::comm {

/// NCCL's functions for memory that the kernels of other ranks write to.
struct NcclWindowCalls {
    decltype(&ncclMemAlloc) mem_alloc = nullptr;
    decltype(&ncclMemFree) mem_free = nullptr;
    decltype(&ncclCommWindowRegister) comm_window_register = nullptr;
    decltype(&ncclCommWindowDeregister) comm_window_deregister = nullptr;
    decltype(&ncclTeamLsa) team_lsa = nullptr;
};

/// Why kernels that were compiled with the headers of one version cannot use windows of a library of another: they read
/// what it has written down about them. Empty where they can: patches of one release.
inline std::string window_problem(int library, int headers) {
    const auto release = [](int version) { return concat(version / 10000, ".", version / 100 % 100); };
    if (library / 100 == headers / 100) return {};
    return concat("NCCL cannot put rows into the memory of other GPUs: it is of version ", release(library),
                  ", and kernels were compiled for the windows of ", release(headers),
                  "; build the module with the headers of the library that runs");
}

/// Calls of the library that load_nccl_calls has loaded. @throws ConfigError when it has none, or window_problem
NcclWindowCalls load_nccl_window_calls();

}  // namespace sy::comm
