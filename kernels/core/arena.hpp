#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <vector>

#include "kernels/core/buffer.hpp"
#include "kernels/core/types.hpp"

namespace sy {

/// Host memory of one rank. Slabs come from the system on huge pages and are touched once; freed pieces are
/// kept in lists by size and reused, so from the second step on nothing is faulted in again.
///
/// Sizes are rounded to one of four steps per power of two (at most 25 % unused). Arenas of one slab size that see the same
/// sequence of allocations and releases put each piece at the same place of the same slab. Not thread-safe: the thread
/// that runs a rank allocates; worker threads only use the memory. Must outlive its buffers.
class Arena {
  public:
    /// @param slab_bytes  least amount that is requested from the system at a time
    explicit Arena(index_t slab_bytes = index_t{64} << 20);
    /// Memory of another kind, for instance such as several processes share.
    /// @param map_slab  gives so many bytes, on a 64-byte boundary, which live longer than the arena; may throw
    Arena(index_t slab_bytes, std::function<std::byte*(index_t)> map_slab);
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    /// @throws Error when the system has no memory, saying how much was in use
    Buffer allocate(index_t bytes);

    /// Bytes handed out now, their maximum so far, and bytes taken from the system.
    index_t used_bytes() const { return used_bytes_; }
    index_t peak_bytes() const { return peak_bytes_; }
    index_t reserved_bytes() const { return reserved_bytes_; }
    /// Starts a new measurement of peak_bytes().
    void reset_peak() { peak_bytes_ = used_bytes_; }

  private:
    friend class Buffer;
    struct Slab {
        std::byte* data;
        index_t bytes;
    };

    void release(std::byte* data, index_t bytes) noexcept;
    std::byte* carve(index_t bytes);
    Slab map_slab(index_t bytes) const;
    Slab new_slab(index_t bytes);

    index_t slab_bytes_;
    std::function<std::byte*(index_t)> map_slab_;  ///< none: the system's own memory
    std::vector<Slab> slabs_;
    std::byte* fresh_ = nullptr;
    index_t fresh_bytes_ = 0;
    std::map<index_t, std::vector<std::byte*>> free_;
    index_t used_bytes_ = 0;
    index_t peak_bytes_ = 0;
    index_t reserved_bytes_ = 0;
};

}  // namespace sy
