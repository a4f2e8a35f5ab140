#pragma once

#include <filesystem>
#include <string>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime::detail {

/// Sum mod 2^64 over blocks of 4 MiB of XXH3-64(block, seed = block number), of every `stride`-th block from
/// `first_block` on: several readers of a file can share the work and add.
std::uint64_t file_checksum(const std::filesystem::path& path, index_t first_block = 0, index_t stride = 1);

/// Name, size and checksum of a file.
FileRecord describe_file(const std::filesystem::path& path);

/// Makes sure that a file or folder is on the disk.
void flush_to_disk(const std::filesystem::path& path);

/// Writes a text file and flushes it to disk.
void write_text(const std::filesystem::path& path, const std::string& text);

/// prefix + number with at least `digits` digits + suffix.
std::string numbered(const char* prefix, index_t number, int digits, const char* suffix);

/// "shard-00003.h5"
inline std::string shard_name(index_t number) {
    return numbered("shard-", number, 5, ".h5");
}

}  // namespace sy::runtime::detail
