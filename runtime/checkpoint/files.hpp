#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/regular_file.hpp"

namespace sy::runtime::detail {

/// Bytes that a file's checksum takes at once.
inline constexpr index_t kBlockBytes = index_t{4} << 20;

/// XXH3-64 of a block, with its number as seed.
std::uint64_t block_checksum(std::span<const std::byte> block, index_t number);

/// Sum mod 2^64 of the block_checksum of every `stride`-th block of a file from `first_block` on: several readers of a
/// file can share the work and add.
std::uint64_t file_checksum(const RegularFile& file, index_t first_block = 0, index_t stride = 1);

/// Makes sure that a folder is on the disk.
void flush_to_disk(const std::filesystem::path& folder);

/// Writes a new text file, flushes it to disk and reads it back.
void write_text(const std::filesystem::path& path, const std::string& text);

/// prefix + number with at least `digits` digits + suffix.
std::string numbered(const char* prefix, index_t number, int digits, const char* suffix);

/// "shard-00003.h5"
inline std::string shard_name(index_t number) {
    return numbered("shard-", number, 5, ".h5");
}

}  // namespace sy::runtime::detail
