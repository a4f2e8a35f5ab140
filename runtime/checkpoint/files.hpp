#pragma once

#include <xxhash.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime::detail {

/// Size and checksum of a file, read in pieces.
inline FileRecord describe_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw IoError(concat("cannot open ", path.string(), ": it is missing or unreadable"));
    const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                                XXH3_freeState);
    XXH3_64bits_reset(state.get());
    index_t bytes = 0;
    std::vector<char> block(std::size_t{1} << 20);
    while (file) {
        file.read(block.data(), static_cast<std::streamsize>(block.size()));
        XXH3_64bits_update(state.get(), block.data(), static_cast<std::size_t>(file.gcount()));
        bytes += file.gcount();
    }
    return {path.filename().string(), bytes, XXH3_64bits_digest(state.get())};
}

/// Makes sure that a file or folder is on the disk.
inline void flush_to_disk(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw IoError(concat("open of ", path.string(), " failed: ", std::strerror(errno)));
    const int status = ::fsync(descriptor);
    const int reason = errno;
    ::close(descriptor);
    if (status != 0) throw IoError(concat("fsync of ", path.string(), " failed: ", std::strerror(reason)));
}

}  // namespace sy::runtime::detail
