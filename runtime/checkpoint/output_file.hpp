#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime::detail {

/// A file open for writing. Every call is checked; one that an interrupt cut short is continued.
/// @throws IoError with the call, the path and the system's reason
class OutputFile {
  public:
    /// create: a file that is not there yet. shared: one that another rank has made.
    enum class Mode { create, shared };
    OutputFile(std::filesystem::path path, Mode mode);
    /// Closes what an exception left open.
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void resize(index_t bytes);
    void write(index_t offset, std::span<const std::byte> bytes);
    /// Flushes to disk what anyone has written to the file.
    void flush();
    void close();

  private:
    std::filesystem::path path_;
    int descriptor_;
};

/// A file written from its first byte to its last by one process, and then read back from the disk. Long stretches of
/// zeros, such as the moments of an imported model, take no room on it.
class NewFile {
  public:
    explicit NewFile(const std::filesystem::path& path);
    void append(std::span<const std::byte> bytes);
    /// Flushes to disk, closes, and compares what the disk holds with what was appended.
    /// @throws IoError when any of it fails or differs
    FileRecord finish();

  private:
    void write_block(std::span<const std::byte> block);
    /// Writes what is not zero.
    void write_parts(std::span<const std::byte> block);

    std::filesystem::path path_;
    OutputFile file_;
    std::vector<std::byte> block_;  ///< what is not written yet, less than kBlockBytes
    index_t num_blocks_ = 0;
    index_t bytes_ = 0;
    std::uint64_t checksum_ = 0;  ///< of the blocks written
    bool ends_in_hole_ = false;
};

}  // namespace sy::runtime::detail
