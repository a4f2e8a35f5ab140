#pragma once

#include <cstddef>
#include <cstdint>

namespace sy::emulation {

/// In which order threads, blocks and streams that could run do run.
enum class Order { fifo, reverse, random };

/// How the emulated machine behaves. Read once from the environment, where a value that is none ends the program; tests
/// may change it while nothing is queued.
struct Options {
    Order order = Order::fifo;     ///< SY_EMULATION_ORDER = fifo, reverse or random
    std::uint64_t seed = 0;        ///< SY_EMULATION_SEED, of the order `random`
    std::size_t num_resident = 1;  ///< SY_EMULATION_RESIDENT: blocks that run interleaved
    bool lazy = true;              ///< SY_EMULATION_LAZY: work runs only when something waits for it
    bool fence = true;             ///< SY_EMULATION_FENCE: the host cannot touch device memory
    std::size_t memory_bytes = std::size_t(4) << 30;  ///< SY_EMULATION_MEMORY_MIB: of a device
    int num_devices = 1;     ///< SY_EMULATION_DEVICES; 0 is a machine without a device
    bool has_driver = true;  ///< SY_EMULATION_DRIVER: false is a machine without a driver
    int driver_version = 0;  ///< SY_EMULATION_DRIVER_VERSION: as 12040; 0: that of the toolkit
    /// SY_EMULATION_BREAK_AT: at this launch the device reports damaged memory, for good; 0: never
    std::int64_t break_at = 0;
    std::size_t num_identities =
        1024;              ///< SY_EMULATION_IDENTITIES: threads told apart under the thread sanitizer
    int deadline_s = 120;  ///< SY_EMULATION_DEADLINE_S: of a wait on a stream that never ends
};

Options& options();

/// A number below `bound`, drawn by the seed. @pre bound > 0
std::uint64_t draw(std::uint64_t bound);
/// Starts the drawn numbers again, from options().seed.
void reseed();

}  // namespace sy::emulation
