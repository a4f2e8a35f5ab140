#pragma once

#include <vector_types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "tests/cuda_on_cpu/emulation/engine/place.hpp"

/// Runs the threads of a grid: each is a fiber, and barriers and exchanges of a warp are where they switch. One grid runs
/// at a time; whoever runs one holds the lock of the runtime.
namespace sy::emulation {

constexpr unsigned kWarpSize = 32;
constexpr std::size_t kSharedLimitBytes = 227 * 1024;  ///< of a block, as on sm_90

struct Launch {
    dim3 grid;
    dim3 block;
    std::size_t dynamic_shared_bytes = 0;
    bool is_cooperative = false;
    std::function<void()> body;  ///< what each thread runs: the kernel with its arguments
};

/// A rule that a thread broke, or a deadlock. The grid it ends stays as it was, as a faulted CUDA context does.
struct KernelFault {
    std::string text;
};

/// Runs a grid to its end. @throws KernelFault
void run_grid(const Launch& launch);

/// @throws KernelFault that names the running thread, the place and what is wrong (a format of printf)
[[noreturn, gnu::format(printf, 2, 3)]] void fault(const Place& where, const char* format, ...);

/// What a barrier makes of the values that the threads bring.
enum class Reduction : std::uint8_t { none, sum, any, all };
enum class Sites : std::uint8_t { one, any };  ///< whether all threads must wait at the same line

struct BarrierCall {
    unsigned id = 0;
    unsigned num_threads = 0;  ///< 0: all of the block
    Sites sites = Sites::any;
    Reduction reduction = Reduction::none;
    unsigned value = 0;
};
/// Waits for the block's other threads, and returns the reduced value.
unsigned barrier(const BarrierCall& call, const Place& where);

/// Lets other threads run, as a spin-wait has to.
void yield();
/// The same, but now and then and only in the order `random`: what atomic operations do.
void maybe_yield();

unsigned lane();       ///< of the running thread in its warp
unsigned live_mask();  ///< the lanes of its warp that have not exited

/// Exchanges of a warp: every lane of the mask brings a value, and all have to call the same operation.
enum class WarpOp : std::uint8_t {
    sync,
    shuffle,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot,
    match,
    gather
};
struct Shuffle {
    WarpOp op = WarpOp::shuffle;
    int by = 0;
    int width = 32;
};
std::uint64_t warp_shuffle(const Shuffle& shuffle, std::uint32_t mask, std::uint64_t value,
                           const Place& where);
/// @param op  ballot: the lanes with a value that is not 0; match: the lanes with this lane's value
std::uint32_t warp_vote(WarpOp op, std::uint32_t mask, std::uint64_t value, const Place& where);
/// The values of all lanes; those outside the mask are undefined.
std::array<std::uint64_t, kWarpSize> warp_gather(std::uint32_t mask, std::uint64_t value, const Place& where);
void warp_sync(std::uint32_t mask, const Place& where);

/// The block's memory for a shared variable (one key each), or for its dynamic shared memory (key null). It starts as
/// 0xff in every byte, NaN in every float type, and has red zones.
void* shared_variable(const void* key, std::size_t bytes, const Place& where);
void* dynamic_shared(const Place& where);

}  // namespace sy::emulation

// Variables as in CUDA, not macros: cudaLaunchConfig_t has members of these names. Set at every switch.
extern constinit uint3 threadIdx;
extern constinit uint3 blockIdx;
extern constinit dim3 blockDim;
extern constinit dim3 gridDim;
