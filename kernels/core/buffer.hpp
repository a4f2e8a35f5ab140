#pragma once

#include <cstddef>

#include "kernels/core/types.hpp"

namespace sy {

class Arena;

/// A piece of an arena: 64-byte aligned, returned to its arena on destruction. Contents are not initialised.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();

    std::byte* data() { return data_; }
    const std::byte* data() const { return data_; }
    index_t bytes() const { return bytes_; }

  private:
    friend class Arena;
    Buffer(Arena* arena, std::byte* data, index_t bytes) : arena_(arena), data_(data), bytes_(bytes) {}

    Arena* arena_ = nullptr;
    std::byte* data_ = nullptr;
    index_t bytes_ = 0;
};

}  // namespace sy
