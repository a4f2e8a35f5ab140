#include "runtime/data/text_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Size of an open file. @throws IoError unless it is regular and has some bytes
index_t size_of(int descriptor, const std::string& path) {
    struct stat status {};
    if (::fstat(descriptor, &status) != 0)
        throw IoError(concat("cannot examine ", path, ": ", std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) {
        throw IoError(concat(path, S_ISDIR(status.st_mode) ? " is a folder" : " is a device or pipe",
                             ", and no file with a text of some size; name a file"));
    }
    if (status.st_size == 0) throw IoError(concat(path, " is empty"));
    return status.st_size;
}

}  // namespace

TextFile::TextFile(const std::string& path) : path_(path) {
    // Without O_NONBLOCK a pipe that nobody writes to would be waited for, only to be refused.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        throw IoError(concat(
            path, " is not a file that can be read: ", std::strerror(errno),
            errno == EMFILE ? "; every file of a text stays open: raise ulimit -n, or join files" : ""));
    }
    try {
        num_bytes_ = size_of(descriptor, path);
    } catch (...) {
        ::close(descriptor);
        throw;
    }
    descriptor_ = descriptor;
}

TextFile::TextFile(TextFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      num_bytes_(std::exchange(other.num_bytes_, 0)) {}

TextFile& TextFile::operator=(TextFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(num_bytes_, other.num_bytes_);
    return *this;
}

TextFile::~TextFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void TextFile::read(index_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), offset);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            throw IoError(concat("reading ", bytes.size(), " bytes of ", path_, " from byte ", offset,
                                 " failed: ", std::strerror(errno)));
        }
        if (count == 0) {
            throw IoError(
                concat(path_, " had ", num_bytes_, " bytes when it was opened and ends at byte ", offset,
                       " now: it was changed while it is read; restore it, and go on from a checkpoint"));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += count;
    }
}

}  // namespace sy::runtime
