#pragma once

#include <nccl.h>

#include <source_location>
#include <string>

#include "kernels/core/error.hpp"

namespace sy::comm {

/// NCCL's functions, which are looked up when they are wanted: so a module serves where there is no NCCL.
struct NcclCalls {
    decltype(&ncclGetVersion) get_version = nullptr;
    decltype(&ncclGetErrorString) get_error_string = nullptr;
    decltype(&ncclGetLastError) get_last_error = nullptr;
    decltype(&ncclGetUniqueId) get_unique_id = nullptr;
    decltype(&ncclCommInitRankConfig) comm_init_rank_config = nullptr;
    decltype(&ncclCommGetAsyncError) comm_get_async_error = nullptr;
    decltype(&ncclCommFinalize) comm_finalize = nullptr;
    decltype(&ncclCommDestroy) comm_destroy = nullptr;
    decltype(&ncclCommAbort) comm_abort = nullptr;
    decltype(&ncclGroupStart) group_start = nullptr;
    decltype(&ncclGroupEnd) group_end = nullptr;
    decltype(&ncclSend) send = nullptr;
    decltype(&ncclRecv) recv = nullptr;
};

/// @param communicator  may be null
/// @throws CommError with NCCL's words unless a call has succeeded, or is in progress
void check_nccl(const NcclCalls& calls, ncclResult_t result, const char* call, ncclComm_t communicator,
                const std::source_location& where = std::source_location::current());

/// Loads the library that SWITCHYARD_NCCL names, or else libnccl.so.2 where the system looks for it.
/// @throws ConfigError saying what is missing
NcclCalls load_nccl_calls();

}  // namespace sy::comm
