#include "comm/nccl/load_calls.hpp"

#include <cstdlib>

#include "comm/nccl/calls.hpp"

namespace sy::comm {
namespace {

/// The first with communicators that do not block and tell what went wrong last.
constexpr int kOldestVersion = NCCL_VERSION(2, 14, 3);

constexpr const char* kNeeds = "2.14.3 or later is needed";

}  // namespace

void* open_nccl() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    const char* const named = std::getenv("SWITCHYARD_NCCL");
    // It is never unloaded: its threads may outlive whoever asked for it.
    void* const library = dlopen(named != nullptr ? named : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        throw ConfigError(
            concat("NCCL cannot be used: ", dlerror(),  // NOLINT(concurrency-mt-unsafe): of this thread
                   "; install it, or name its library in SWITCHYARD_NCCL"));
    }
    return library;
}

NcclCalls load_nccl_calls() {
    void* const library = open_nccl();
    NcclCalls calls;
    look_up(library, "ncclGetVersion", calls.get_version, kNeeds);
    int version = 0;
    if (calls.get_version(&version) != ncclSuccess || version < kOldestVersion)
        throw ConfigError(concat("NCCL cannot be used: it is of version ", version, ", ", kOldestVersion,
                                 " or later is needed"));
    look_up(library, "ncclGetErrorString", calls.get_error_string, kNeeds);
    look_up(library, "ncclGetLastError", calls.get_last_error, kNeeds);
    look_up(library, "ncclGetUniqueId", calls.get_unique_id, kNeeds);
    look_up(library, "ncclCommInitRankConfig", calls.comm_init_rank_config, kNeeds);
    look_up(library, "ncclCommGetAsyncError", calls.comm_get_async_error, kNeeds);
    look_up(library, "ncclCommFinalize", calls.comm_finalize, kNeeds);
    look_up(library, "ncclCommDestroy", calls.comm_destroy, kNeeds);
    look_up(library, "ncclCommAbort", calls.comm_abort, kNeeds);
    look_up(library, "ncclGroupStart", calls.group_start, kNeeds);
    look_up(library, "ncclGroupEnd", calls.group_end, kNeeds);
    look_up(library, "ncclSend", calls.send, kNeeds);
    look_up(library, "ncclRecv", calls.recv, kNeeds);
    return calls;
}

}  // namespace sy::comm
