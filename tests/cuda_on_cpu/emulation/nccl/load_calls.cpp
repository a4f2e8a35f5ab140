// The stand-in's functions, in the place of comm/nccl/load_calls.cpp, which looks for a library.
#include <cstdlib>

#include "comm/nccl/calls.hpp"

namespace sy::comm {

NcclCalls load_nccl_calls() {
    if (const char* const named = std::getenv("SWITCHYARD_NCCL"))
        throw ConfigError(concat("NCCL cannot be used: ", named, " is not the emulation's"));
    return {.get_version = &ncclGetVersion,
            .get_error_string = &ncclGetErrorString,
            .get_last_error = &ncclGetLastError,
            .get_unique_id = &ncclGetUniqueId,
            .comm_init_rank_config = &ncclCommInitRankConfig,
            .comm_get_async_error = &ncclCommGetAsyncError,
            .comm_finalize = &ncclCommFinalize,
            .comm_destroy = &ncclCommDestroy,
            .comm_abort = &ncclCommAbort,
            .group_start = &ncclGroupStart,
            .group_end = &ncclGroupEnd,
            .send = &ncclSend,
            .recv = &ncclRecv};
}

}  // namespace sy::comm
