// NCCL's functions on the emulation, as far as comm/nccl calls them. Communicators do not block: what a group of calls has
// to do is on its stream only after ncclCommGetAsyncError has said so, a few calls later.
#include <nccl.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_on_cpu/emulation/nccl/batch.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/communicator.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

constexpr int kPollsUntilQueued = 2;

struct Call {
    std::shared_ptr<NcclRank> rank;
    cudaStream_t stream;
    NcclOperation operation;
};

struct Group {
    int depth = 0;
    ncclResult_t error = ncclSuccess;
    std::vector<Call> calls;
};

Group& group() {
    static thread_local Group of_thread;
    return of_thread;
}

ncclResult_t check_memory(NcclRank& rank, const char* call, const void* memory, std::size_t bytes) {
    if (bytes == 0 || is_device(memory, bytes)) return ncclSuccess;
    return rank.fail(ncclInvalidArgument, std::string(call) + " of " + std::to_string(bytes) +
                                              " bytes that are not in one live allocation of the device");
}

/// One batch for each communicator in the group, in the order of the first calls.
ncclResult_t launch(std::vector<Call> calls) {
    while (!calls.empty()) {
        const std::shared_ptr<NcclRank> rank = calls.front().rank;
        const cudaStream_t stream = calls.front().stream;
        std::vector<NcclOperation> operations;
        std::vector<Call> others;
        for (Call& call : calls) {
            if (call.rank != rank) {
                others.push_back(call);
                continue;
            }
            if (call.stream != stream)
                return rank->fail(ncclInvalidUsage, "a group on two streams, which is not emulated");
            operations.push_back(call.operation);
        }
        rank->unqueued = std::make_shared<NcclBatch>(rank, stream, std::move(operations));
        rank->polls_until_queued = kPollsUntilQueued;
        calls = std::move(others);
    }
    return ncclInProgress;
}

ncclResult_t end_group() {
    Group& ended = group();
    std::vector<Call> calls = std::exchange(ended.calls, {});
    const ncclResult_t error = std::exchange(ended.error, ncclSuccess);
    if (error != ncclSuccess || calls.empty()) return error;
    return launch(std::move(calls));
}

ncclResult_t add(ncclComm_t comm, const char* call, const NcclOperation& operation, cudaStream_t stream) {
    const Guard guard(runtime_mutex());
    ncclResult_t error = check_free(comm, call);
    if (error == ncclSuccess && (operation.peer < 0 || operation.peer >= comm->rank->size)) {
        error = comm->rank->fail(ncclInvalidArgument,
                                 std::string(call) + " with rank " + std::to_string(operation.peer));
    }
    if (error == ncclSuccess && operation.in != nullptr)
        error = check_memory(*comm->rank, call, operation.in, operation.bytes());
    if (error == ncclSuccess && operation.out != nullptr)
        error = check_memory(*comm->rank, call, operation.out, operation.bytes());
    if (error == ncclSuccess && is_capturing(stream))
        error =
            comm->rank->fail(ncclInvalidUsage, std::string(call) + " on a captured stream (not emulated)");
    Group& called = group();
    if (error != ncclSuccess) {
        called.error = error;
        return error;
    }
    if (operation.count == 0) return ncclSuccess;
    called.calls.push_back({comm->rank, stream, operation});
    return called.depth > 0 ? ncclSuccess : end_group();
}

ncclResult_t connect(NcclRank& rank) {
    Fabric& fabric = *rank.fabric;
    if (rank.rank == nccl_faults().absent_rank || !fabric.all_have_joined()) return ncclInProgress;
    if (fabric.problem() != nullptr) return rank.fail(ncclInvalidUsage, fabric.problem());
    if (fabric.shares_a_device())
        return rank.fail(ncclInvalidUsage, "Duplicate GPU detected: two ranks use the same device");
    rank.is_connected = true;
    return ncclSuccess;
}

ncclResult_t queue_batch(NcclRank& rank) {
    if (--rank.polls_until_queued > 0) return ncclInProgress;
    const std::shared_ptr<NcclBatch> batch = std::exchange(rank.unqueued, nullptr);
    rank.streams.push_back(batch->stream());
    const auto poll = [batch] { return batch->poll(); };
    if (enqueue(batch->stream(), "NCCL", poll, Opens::nothing) == cudaSuccess) return ncclSuccess;
    return rank.fail(ncclUnhandledCudaError, "the stream takes no work");
}

ncclResult_t finish_work(NcclRank& rank) {
    for (const cudaStream_t stream : rank.streams) static_cast<void>(cudaStreamQuery(stream));
    return rank.num_finished == rank.num_begun ? ncclSuccess : ncclInProgress;
}

}  // namespace

ncclResult_t refuse(ncclResult_t result, const std::string& why) {
    report("NCCL: " + why);
    return result;
}

ncclResult_t check_free(ncclComm_t comm, const char* call) {
    if (comm == nullptr) return refuse(ncclInvalidArgument, std::string(call) + " of no communicator");
    NcclRank& rank = *comm->rank;
    if (rank.error != ncclSuccess) return rank.error;
    if (!rank.is_connected || rank.unqueued != nullptr || rank.registering || rank.is_finalized) {
        return rank.fail(ncclInvalidUsage, std::string(call) +
                                               " while the communicator is in progress, or finalized; "
                                               "ncclCommGetAsyncError has to return ncclSuccess first");
    }
    return ncclSuccess;
}

}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

const char* ncclGetErrorString(ncclResult_t result) {
    switch (result) {
        case ncclSuccess:
            return "no error";
        case ncclUnhandledCudaError:
            return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
        case ncclSystemError:
            return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
        case ncclInvalidArgument:
            return "invalid argument (run with NCCL_DEBUG=WARN for details)";
        case ncclInvalidUsage:
            return "invalid usage (run with NCCL_DEBUG=WARN for details)";
        case ncclRemoteError:
            return "remote process exited or there was a network error";
        case ncclInProgress:
            return "NCCL operation in progress";
        default:
            return "internal error";
    }
}

const char* ncclGetLastError(ncclComm_t comm) {
    return comm == nullptr ? "" : comm->rank->error_text.c_str();
}

ncclResult_t ncclGetVersion(int* version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* unique_id) {
    static_assert(sizeof(Fabric::Id) <= sizeof *unique_id);
    const Fabric::Id id = Fabric::create();
    if (id.file < 0) return refuse(ncclSystemError, "no memory for a communicator");
    std::memset(unique_id, 0, sizeof *unique_id);
    std::memcpy(unique_id, &id, sizeof id);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int num_ranks, ncclUniqueId unique_id, int rank,
                                    ncclConfig_t* config) {
    const Guard guard(runtime_mutex());
    *comm = nullptr;
    if (config == nullptr || config->blocking != 0)
        return refuse(ncclInvalidUsage, "a communicator that blocks is not emulated");
    if (num_ranks < 1 || num_ranks > Fabric::kMaxRanks || rank < 0 || rank >= num_ranks) {
        return refuse(ncclInvalidArgument,
                      "rank " + std::to_string(rank) + " of " + std::to_string(num_ranks));
    }
    int device = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return ncclUnhandledCudaError;
    Fabric::Id id;
    std::memcpy(static_cast<void*>(&id), &unique_id, sizeof id);
    auto made = std::make_shared<NcclRank>();
    made->rank = rank;
    made->size = num_ranks;
    made->fabric = std::make_unique<Fabric>(id, rank, num_ranks);
    if (made->fabric->problem() != nullptr) return refuse(ncclInvalidUsage, made->fabric->problem());
    if (rank != nccl_faults().absent_rank) made->fabric->join(device);
    *comm = new ncclComm{std::move(made)};
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
    const Guard guard(runtime_mutex());
    NcclRank& rank = *comm->rank;
    if (rank.error == ncclSuccess && rank.fabric->has_failed())
        rank.fail(ncclRemoteError, "a peer has failed");
    if (rank.error != ncclSuccess) {
        *error = rank.error;
    } else if (!rank.is_connected) {
        *error = connect(rank);
    } else if (rank.unqueued != nullptr) {
        *error = queue_batch(rank);
    } else if (rank.registering) {
        *error = rank.registering();
        if (*error != ncclInProgress) rank.registering = nullptr;
    } else if (rank.is_finalized) {
        *error = finish_work(rank);
    } else {
        *error = ncclSuccess;
    }
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    const Guard guard(runtime_mutex());
    const ncclResult_t error = check_free(comm, "ncclCommFinalize");
    if (error != ncclSuccess) return error;
    comm->rank->is_finalized = true;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    const Guard guard(runtime_mutex());
    NcclRank& rank = *comm->rank;
    if (!rank.is_finalized || rank.num_finished != rank.num_begun)
        return rank.fail(ncclInvalidUsage, "ncclCommDestroy before the communicator was finalized");
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    const Guard guard(runtime_mutex());
    comm->rank->is_aborted = true;
    comm->rank->unqueued = nullptr;
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
    ++group().depth;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
    const Guard guard(runtime_mutex());
    if (group().depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    return --group().depth > 0 ? ncclSuccess : end_group();
}

ncclResult_t ncclSend(const void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    const NcclOperation operation{
        NcclKind::point_to_point, static_cast<const char*>(memory), nullptr, count, type, peer};
    return add(comm, "ncclSend", operation, stream);
}

ncclResult_t ncclRecv(void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    const NcclOperation operation{
        NcclKind::point_to_point, nullptr, static_cast<char*>(memory), count, type, peer};
    return add(comm, "ncclRecv", operation, stream);
}

ncclResult_t ncclReduce(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                        int root, ncclComm_t comm, cudaStream_t stream) {
    if (op != ncclSum || (type != ncclInt64 && type != ncclUint64 && type != ncclFloat32))
        return refuse(ncclInvalidArgument, "ncclReduce: only sums of int64, uint64 and float32 are emulated");
    const bool is_root = comm != nullptr && comm->rank->rank == root;
    const NcclOperation operation{NcclKind::reduce,
                                  static_cast<const char*>(in),
                                  is_root ? static_cast<char*>(out) : nullptr,
                                  count,
                                  type,
                                  root};
    return add(comm, "ncclReduce", operation, stream);
}

}  // extern "C"
