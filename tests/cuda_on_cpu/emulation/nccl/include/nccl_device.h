// Stands before NCCL's own <nccl_device.h> for what is compiled for the emulation: the window and the functions of it that
// comm/nccl uses, under NCCL's names and with its signatures.
#pragma once

#include <nccl.h>

// Kernels that wait for peers read the device's clock, and no others.
#include "tests/cuda_on_cpu/emulation/device/clock.hpp"
#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

typedef struct ncclTeam {
    int nRanks, rank, stride;
} ncclTeam_t;

/// In memory of the device, as NCCL has it: kernels are given its address.
struct ncclWindow_vidmem {
    static constexpr int kMaxRanks = 16;
    char* ranks[kMaxRanks];  ///< where the memory of each rank is mapped
    size_t bytes;
    int rank;
    int num_ranks;
};

extern "C" ncclTeam_t ncclTeamLsa(ncclComm_t comm);

/// NCCL checks neither; a GPU would read or write elsewhere.
inline void* ncclGetLsaPointer(ncclWindow_t window, size_t offset, int peer,
                               sy::emulation::Place where = sy::emulation::Place::current()) {
    if (peer < 0 || peer >= window->num_ranks)
        sy::emulation::fault(where, "a window of rank %d, of %d", peer, window->num_ranks);
    if (offset >= window->bytes)
        sy::emulation::fault(where, "byte %zu of a window of %zu bytes", offset, window->bytes);
    return window->ranks[peer] + offset;
}
inline void* ncclGetLocalPointer(ncclWindow_t window, size_t offset,
                                 sy::emulation::Place where = sy::emulation::Place::current()) {
    return ncclGetLsaPointer(window, offset, window->rank, where);
}
