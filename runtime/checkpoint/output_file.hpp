#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "kernels/core/ordered_work.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/regular_file.hpp"

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

/// A file written from its first byte to its last by one process, and read back from the disk: a large one while more of
/// it is written, by a thread of its own. Long stretches of zeros, such as the moments of an imported model, take no room
/// on the disk, which is asked whether it stores nothing for them.
/// All that writes @throws IoError when a call fails, or the disk holds other bytes of what was written before
class NewFile {
  public:
    explicit NewFile(const std::filesystem::path& path);
    void append(std::span<const std::byte> bytes);
    /// Appends so many zeros.
    void append_zeros(index_t bytes);
    /// Flushes to disk, closes, and compares what the disk holds with what was appended.
    FileRecord finish();

  private:
    /// What was written and not read back.
    struct Written {
        Range bytes;  ///< from the beginning of a block on
        struct Block {
            std::uint64_t checksum;
            bool is_zero;  ///< all of it
        };
        std::vector<Block> blocks;
    };

    void write_block(std::span<const std::byte> bytes);
    /// Writes what is not zero. @return whether there was any
    bool write_parts(std::span<const std::byte> bytes);
    /// Lets what was written be read back while more is.
    void read_back_behind();
    /// @param file  flushed
    void read_back(const RegularFile& file, const Written& written) const;

    std::filesystem::path path_;
    OutputFile file_;
    std::vector<std::byte> block_;  ///< what is not written yet, less than kBlockBytes
    std::uint64_t checksum_ = 0;    ///< of the blocks written
    bool ends_in_hole_ = false;
    Written written_;
    int num_behind_ = 0;                       ///< parts that the thread has not read back
    std::optional<OrderedWork<void>> behind_;  ///< ends first: its thread uses the file
};

}  // namespace sy::runtime::detail
