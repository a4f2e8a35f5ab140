#include "runtime/checkpoint/files.hpp"

#include <xxhash.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "runtime/checkpoint/output_file.hpp"

namespace sy::runtime::detail {

namespace fs = std::filesystem;

std::uint64_t block_checksum(std::span<const std::byte> block, index_t number) {
    return XXH3_64bits_withSeed(block.data(), block.size(), static_cast<std::uint64_t>(number));
}

std::uint64_t file_checksum(const RegularFile& file, index_t first_block, index_t stride) {
    std::vector<std::byte> memory(static_cast<std::size_t>(std::min(kBlockBytes, file.bytes())));
    std::uint64_t sum = 0;
    for (index_t number = first_block; number * kBlockBytes < file.bytes(); number += stride) {
        const index_t bytes = std::min(kBlockBytes, file.bytes() - number * kBlockBytes);
        const std::span<std::byte> block = std::span(memory).first(static_cast<std::size_t>(bytes));
        file.read_stored(number * kBlockBytes, block);
        sum += block_checksum(block, number);
    }
    return sum;
}

void flush_to_disk(const fs::path& folder) {
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) throw IoError(concat("open of ", folder.string(), " failed: ", std::strerror(errno)));
    const char* failed = ::fsync(descriptor) == 0 ? "" : "fsync";
    int reason = errno;
    if (::close(descriptor) != 0 && *failed == '\0') {
        failed = "close";
        reason = errno;
    }
    if (*failed != '\0')
        throw IoError(concat(failed, " of ", folder.string(), " failed: ", std::strerror(reason)));
}

void write_text(const fs::path& path, const std::string& text) {
    NewFile file(path);
    file.append(std::as_bytes(std::span(text)));
    file.finish();
}

std::string numbered(const char* prefix, index_t number, int digits, const char* suffix) {
    std::string text = std::to_string(number);
    text.insert(0, static_cast<std::size_t>(std::max(0, digits - static_cast<int>(text.size()))), '0');
    return prefix + text + suffix;
}

}  // namespace sy::runtime::detail
