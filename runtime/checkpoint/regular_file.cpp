#include "runtime/checkpoint/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime::detail {

RegularFile::RegularFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) {
    const int reason = errno;
    if (descriptor_ < 0 && reason == ELOOP)
        throw IoError(
            concat(path_.string(), " is a link; files of a checkpoint are regular files in its folder"));
    if (descriptor_ < 0)
        throw IoError(concat("cannot open ", path_.string(), ": it is missing or unreadable (",
                             std::strerror(reason), ")"));
    struct stat found = {};
    std::string problem;
    if (::fstat(descriptor_, &found) != 0) {
        problem = concat("fstat of ", path_.string(), " failed: ", std::strerror(errno));
    } else if (!S_ISREG(found.st_mode)) {
        problem = concat(path_.string(), " is no regular file, as every file of a checkpoint is");
    }
    bytes_ = found.st_size;
    if (problem.empty()) return;
    ::close(descriptor_);
    throw IoError(problem);
}

RegularFile::~RegularFile() {
    // Nothing was written: closing has nothing to lose.
    ::close(descriptor_);
}

void RegularFile::read(index_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), offset);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            throw IoError(
                concat("reading ", path_.string(), " at byte ", offset, " failed: ", std::strerror(errno)));
        if (count == 0)
            throw IoError(concat("reading ", path_.string(), " failed: it ends at byte ", offset));
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += count;
    }
}

void RegularFile::forget_cached() const {
    // Advice only: file systems in memory have no disk to read from, and say nothing.
    static_cast<void>(::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED));
}

index_t regular_file_bytes(const std::filesystem::path& path) {
    return RegularFile(path).bytes();
}

std::string read_regular_text(const std::filesystem::path& path, index_t max_bytes) {
    const RegularFile file(path);
    if (file.bytes() > max_bytes)
        throw IoError(
            concat(path.string(), " has ", file.bytes(), " bytes; at most ", max_bytes, " are read"));
    std::string text(static_cast<std::size_t>(file.bytes()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace sy::runtime::detail
