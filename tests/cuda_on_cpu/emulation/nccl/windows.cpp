// NCCL's windows on the emulation: memory in files without a name, which every rank maps among the memory of its device.
#include <fcntl.h>
#include <nccl_device.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "tests/cuda_on_cpu/emulation/nccl/communicator.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

/// Of ncclMemAlloc.
struct Memory {
    int file = -1;
    std::size_t bytes = 0;
    int num_windows = 0;
};

std::map<void*, Memory>& memories() {
    static std::map<void*, Memory> all;
    return all;
}

/// NaN in every float type, written through the file: what is mapped has no pages yet then, and each opening and closing of
/// the device's memory takes as long as it has pages. @return whether it is written
bool fill_unwritten(int file, std::size_t bytes) {
    const std::vector<unsigned char> unwritten(std::size_t{64} << 10, 0xff);
    for (std::size_t done = 0; done < bytes;) {
        const ssize_t written =
            pwrite(file, unwritten.data(), std::min(bytes - done, unwritten.size()), off_t(done));
        if (written <= 0) return false;
        done += std::size_t(written);
    }
    return true;
}

/// The memory of another rank, mapped; null where it is gone.
char* map_offer(const Fabric::Offer& offer) {
    const std::string path = "/proc/" + std::to_string(offer.process) + "/fd/" + std::to_string(offer.file);
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) return nullptr;
    void* const mapped = device_memory().map(file, offer.bytes, false);
    close(file);
    return static_cast<char*>(mapped);
}

/// Once all ranks have offered their memory. @return ncclInProgress before
ncclResult_t finish_window(NcclRank& rank, std::uint64_t round, char* own, std::size_t bytes,
                           ncclWindow_t* window) {
    for (int peer = 0; peer < rank.size; ++peer)
        if (!rank.fabric->has_offer(round, peer)) return ncclInProgress;
    ncclWindow_vidmem made{};
    made.bytes = bytes;
    made.rank = rank.rank;
    made.num_ranks = rank.size;
    for (int peer = 0; peer < rank.size; ++peer) {
        const Fabric::Offer offer = rank.fabric->offer_of(round, peer);
        if (offer.bytes != bytes) {
            return rank.fail(ncclInvalidUsage, "rank " + std::to_string(peer) + " registers a window of " +
                                                   std::to_string(offer.bytes) + " bytes, this one of " +
                                                   std::to_string(bytes));
        }
        made.ranks[peer] = peer == rank.rank ? own : map_offer(offer);
        if (made.ranks[peer] == nullptr)
            return rank.fail(ncclSystemError, "the memory of rank " + std::to_string(peer) + " is gone");
    }
    void* const place = device_memory().allocate(sizeof made);
    if (place == nullptr) return rank.fail(ncclUnhandledCudaError, "no memory for a window");
    const OpenDevice open;
    *window = new (place) ncclWindow_vidmem(made);
    return ncclSuccess;
}

}  // namespace
}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

ncclResult_t ncclMemAlloc(void** memory, size_t bytes) {
    const Guard guard(runtime_mutex());
    constexpr std::size_t kPageBytes = 4096;
    const std::size_t whole = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    const int file = memfd_create("nccl-window", MFD_CLOEXEC);
    *memory = nullptr;
    if (file >= 0 && ftruncate(file, off_t(whole)) == 0) *memory = device_memory().map(file, whole, true);
    if (*memory == nullptr) {
        if (file >= 0) close(file);
        return refuse(ncclUnhandledCudaError, "ncclMemAlloc of " + std::to_string(bytes) + " bytes");
    }
    memories()[*memory] = {file, whole};
    if (!fill_unwritten(file, whole)) return refuse(ncclUnhandledCudaError, "the writing of a window's file");
    return ncclSuccess;
}

ncclResult_t ncclMemFree(void* memory) {
    const Guard guard(runtime_mutex());
    const auto found = memories().find(memory);
    if (found == memories().end())
        return refuse(ncclInvalidArgument, "ncclMemFree of what ncclMemAlloc did not give");
    if (found->second.num_windows > 0) return refuse(ncclInvalidUsage, "ncclMemFree of a registered window");
    close(found->second.file);
    memories().erase(found);
    device_memory().free(memory);
    return sticky_error() == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void* memory, size_t bytes, ncclWindow_t* window,
                                    int flags) {
    const Guard guard(runtime_mutex());
    const ncclResult_t error = check_free(comm, "ncclCommWindowRegister");
    if (error != ncclSuccess) return error;
    NcclRank& rank = *comm->rank;
    const auto found = memories().find(memory);
    if (found == memories().end() || bytes != found->second.bytes || flags != NCCL_WIN_COLL_SYMMETRIC) {
        return rank.fail(
            ncclInvalidArgument,
            "ncclCommWindowRegister of what is not all of one ncclMemAlloc, or not as symmetric memory");
    }
    ++found->second.num_windows;
    *window = nullptr;
    const std::uint64_t round = ++rank.num_windows;
    rank.fabric->offer(round, {getpid(), found->second.file, bytes});
    rank.registering = [&rank, round, own = static_cast<char*>(memory), bytes, window] {
        return finish_window(rank, round, own, bytes, window);
    };
    return ncclInProgress;
}

ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t window) {
    const Guard guard(runtime_mutex());
    if (!is_device(window, sizeof *window))
        return comm->rank->fail(ncclInvalidArgument,
                                "ncclCommWindowDeregister of what is no registered window");
    ncclWindow_vidmem held{};
    {
        const OpenDevice open;
        held = *window;
    }
    for (int peer = 0; peer < held.num_ranks; ++peer)
        if (peer != held.rank) device_memory().free(held.ranks[peer]);
    --memories()[held.ranks[held.rank]].num_windows;
    device_memory().free(window);
    return sticky_error() == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclTeam_t ncclTeamLsa(ncclComm_t comm) {
    const NcclRank& rank = *comm->rank;
    const int most = nccl_faults().lsa_ranks;
    const int ranks = most == 0 ? rank.size : std::min(most, rank.size);
    return {ranks, rank.rank % ranks, 1};
}

}  // extern "C"
