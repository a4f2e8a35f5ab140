#pragma once

#include <nccl.h>

#include <functional>
#include <thread>

#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/suites/support.hpp"

/// Ranks of the stand-in for NCCL, as threads.
namespace sy::emulation {

/// Faults that a test plants, gone afterwards.
class Faults {
  public:
    explicit Faults(const NcclFaults& planted) { nccl_faults() = planted; }
    Faults(const Faults&) = delete;
    Faults& operator=(const Faults&) = delete;
    ~Faults() { nccl_faults() = {}; }
};

/// Asks until the answer is another one than `busy`, but not for ever. @return the last answer
template <typename Answer, typename Ask>
Answer ask_until_not(Answer busy, const Ask& ask, std::chrono::milliseconds patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const Answer answer = ask();
        if (answer != busy || std::chrono::steady_clock::now() > end) return answer;
        std::this_thread::sleep_for(std::chrono::microseconds(20));  // for threads that want the same lock
    }
}

/// NCCL's word when it is ready, or fails.
inline ncclResult_t settle(ncclComm_t comm, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
    const auto state = [comm] {
        ncclResult_t now = ncclInProgress;
        return ncclCommGetAsyncError(comm, &now) == ncclSuccess ? now : ncclInternalError;
    };
    return ask_until_not(ncclInProgress, state, patience);
}

/// A rank with a device, a stream and a communicator of its own, each step of which is checked by its test.
struct Rank {
    int rank;
    int size;
    ncclComm_t comm = nullptr;
    cudaStream_t stream = nullptr;

    Rank(int rank_, int size_, const ncclUniqueId& id, int device) : rank(rank_), size(size_) {
        if (cudaSetDevice(device) != cudaSuccess) return;
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        if (ncclCommInitRankConfig(&comm, size, id, rank, &config) != ncclInProgress) comm = nullptr;
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    }
    Rank(const Rank&) = delete;
    Rank& operator=(const Rank&) = delete;
    ~Rank() {
        give_up();
        cudaStreamDestroy(stream);
    }
    /// Lets work end that would never: memory can be freed then.
    void give_up() {
        if (comm != nullptr) ncclCommAbort(comm);
        comm = nullptr;
    }
    /// @return whether all that was queued is done
    bool finish(std::chrono::milliseconds patience = std::chrono::seconds(30)) {
        return ask_until_not(
                   cudaErrorNotReady, [this] { return cudaStreamQuery(stream); }, patience) == cudaSuccess;
    }
    /// NCCL's word once it fails, or else ncclSuccess when all that was queued is done, ncclInProgress when it is not.
    ncclResult_t outcome(std::chrono::milliseconds patience) {
        ncclResult_t state = settle(comm, patience);
        const auto look = [&] {
            const cudaError_t work = cudaStreamQuery(stream);
            ncclCommGetAsyncError(comm, &state);
            return state == ncclSuccess && work == cudaErrorNotReady ? ncclInProgress : state;
        };
        return ask_until_not(ncclInProgress, look, patience);
    }
};

/// Device memory of a rank, which threads other than Catch's may make.
template <typename T>
struct Memory {
    T* first = nullptr;
    std::size_t size;
    explicit Memory(std::size_t size_) : size(size_) {
        void* raw = nullptr;
        if (cudaMalloc(&raw, size * sizeof(T)) == cudaSuccess) first = static_cast<T*>(raw);
    }
    explicit Memory(const std::vector<T>& values) : Memory(values.size()) {
        cudaMemcpy(first, values.data(), size * sizeof(T), cudaMemcpyHostToDevice);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { cudaFree(first); }
    std::vector<T> to_host() const {
        std::vector<T> values(size);
        cudaMemcpy(values.data(), first, size * sizeof(T), cudaMemcpyDeviceToHost);
        return values;
    }
};

/// Runs ranks as threads; each returns what is wrong, or nothing.
inline std::vector<std::string> run_ranks(int size, const std::function<std::string(Rank&)>& body,
                                          bool one_device = false) {
    options().num_devices = size;
    ncclUniqueId id;
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    std::vector<std::string> problems(static_cast<std::size_t>(size));
    std::vector<std::thread> threads;
    for (int r = 0; r < size; ++r) {
        threads.emplace_back([&, r] {
            Rank rank(r, size, id, one_device ? 0 : r);
            problems[std::size_t(r)] = rank.comm == nullptr ? "no communicator" : body(rank);
        });
    }
    for (std::thread& thread : threads) thread.join();
    return problems;
}

inline void all_fine(const std::vector<std::string>& problems) {
    for (std::size_t rank = 0; rank < problems.size(); ++rank) {
        INFO("rank " << rank);
        CHECK(problems[rank] == "");
    }
}

}  // namespace sy::emulation
