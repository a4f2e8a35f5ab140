#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A file that is read in pieces while it stays open. It may not change meanwhile; one that shrinks is an error.
class TextFile {
  public:
    /// @throws IoError when it is missing, not a regular file, empty or unreadable, saying which. Pipes are not waited for
    explicit TextFile(const std::string& path);
    TextFile(TextFile&& other) noexcept;
    TextFile& operator=(TextFile&& other) noexcept;
    TextFile(const TextFile&) = delete;
    TextFile& operator=(const TextFile&) = delete;
    ~TextFile();

    index_t num_bytes() const { return num_bytes_; }
    /// Fills `bytes` from byte `offset` on. @throws IoError when the file no longer holds them or cannot be read
    void read(index_t offset, std::span<std::byte> bytes) const;

  private:
    std::string path_;
    int descriptor_ = -1;
    index_t num_bytes_ = 0;
};

}  // namespace sy::runtime
