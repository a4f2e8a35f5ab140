#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime::detail {

/// What becomes of a path that is a symbolic link. A checkpoint has no links, so one there is refused. Published models have
/// them: in the cache of Hugging Face's hub every file is a link to its contents.
enum class Links { refused, followed };

/// A regular file open for reading, found without waiting for a pipe or device.
/// @throws IoError when it is missing, unreadable or anything but a regular file, where links are followed: at their end
class RegularFile {
  public:
    explicit RegularFile(std::filesystem::path path, Links links = Links::refused);
    ~RegularFile();
    RegularFile(const RegularFile&) = delete;
    RegularFile& operator=(const RegularFile&) = delete;

    index_t bytes() const { return bytes_; }
    /// Fills `bytes` from `offset` on. @throws IoError also when the file ends before
    void read(index_t offset, std::span<std::byte> bytes) const;
    /// Lets the following reads come from the disk, where the file system can forget what it holds in memory of these bytes.
    void forget_cached(Range bytes) const;
    /// Lets all of the file come from the disk.
    void forget_cached() const { forget_cached({0, bytes_}); }
    /// Whether the file system says that it stores nothing for these bytes: they are zeros.
    bool is_hole(Range bytes) const;
    /// Like read(), but what the file system says it stores nothing for is set to zero without being read: holes, and
    /// whatever lies behind the end of the file.
    void read_stored(index_t offset, std::span<std::byte> bytes) const;

  private:
    std::filesystem::path path_;
    int descriptor_;
    index_t bytes_ = 0;
};

/// Size of a regular file. @throws IoError as above
index_t regular_file_bytes(const std::filesystem::path& path, Links links = Links::refused);

/// The text of a regular file of at most `max_bytes` bytes. @throws IoError as above, or when it is larger
std::string read_regular_text(const std::filesystem::path& path, index_t max_bytes,
                              Links links = Links::refused);

}  // namespace sy::runtime::detail
