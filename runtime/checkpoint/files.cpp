#include "runtime/checkpoint/files.hpp"

#include <xxhash.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

namespace sy::runtime::detail {

namespace fs = std::filesystem;

std::uint64_t file_checksum(const fs::path& path, index_t first_block, index_t stride) {
    constexpr index_t kBlockBytes = index_t{4} << 20;
    std::ifstream file(path, std::ios::binary);
    if (!file) throw IoError(concat("cannot open ", path.string(), ": it is missing or unreadable"));
    std::vector<char> block(static_cast<std::size_t>(kBlockBytes));
    std::uint64_t sum = 0;
    for (index_t number = first_block;; number += stride) {
        file.seekg(number * kBlockBytes);
        file.read(block.data(), kBlockBytes);
        const std::streamsize count = file.gcount();
        if (count <= 0) break;
        sum += XXH3_64bits_withSeed(block.data(), static_cast<std::size_t>(count),
                                    static_cast<std::uint64_t>(number));
        if (count < kBlockBytes) break;
    }
    if (file.bad()) throw IoError(concat("reading ", path.string(), " failed: ", std::strerror(errno)));
    return sum;
}

FileRecord describe_file(const fs::path& path) {
    const std::uint64_t checksum = file_checksum(path);
    return {path.filename().string(), static_cast<index_t>(fs::file_size(path)), checksum};
}

void flush_to_disk(const fs::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw IoError(concat("open of ", path.string(), " failed: ", std::strerror(errno)));
    const int status = ::fsync(descriptor);
    const int reason = errno;
    ::close(descriptor);
    if (status != 0) throw IoError(concat("fsync of ", path.string(), " failed: ", std::strerror(reason)));
}

void write_text(const fs::path& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    file.close();
    if (!file) throw IoError(concat("writing ", path.string(), " failed: ", std::strerror(errno)));
    flush_to_disk(path);
}

std::string numbered(const char* prefix, index_t number, int digits, const char* suffix) {
    std::string text = std::to_string(number);
    text.insert(0, static_cast<std::size_t>(std::max(0, digits - static_cast<int>(text.size()))), '0');
    return prefix + text + suffix;
}

}  // namespace sy::runtime::detail
