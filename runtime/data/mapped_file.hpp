#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace sy::runtime {

/// A file as read-only memory: its pages are shared by all ranks of a node and dropped under pressure. Shrinking the
/// file while it is mapped ends the process with SIGBUS.
class MappedFile {
  public:
    /// @throws IoError when it is missing, not a regular file, empty or unreadable, saying which
    explicit MappedFile(const std::string& path);
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {data_, size_}; }

  private:
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace sy::runtime
