#include "runtime/checkpoint/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime::detail {
namespace {

/// What a path is that cannot be opened: ": it" or, of a link, ": TARGET, to which it is a link,".
std::string subject_of(const std::filesystem::path& path) {
    std::error_code ignored;
    const std::filesystem::path target = std::filesystem::read_symlink(path, ignored);
    return target.empty() ? ": it" : concat(": ", target.string(), ", to which it is a link,");
}

}  // namespace

RegularFile::RegularFile(std::filesystem::path path, Links links)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(),
                         O_RDONLY | O_NONBLOCK | O_CLOEXEC | (links == Links::refused ? O_NOFOLLOW : 0))) {
    const int reason = errno;
    if (descriptor_ < 0 && reason == ELOOP && links == Links::refused)
        throw IoError(
            concat(path_.string(), " is a link; files of a checkpoint are regular files in its folder"));
    if (descriptor_ < 0)
        throw IoError(concat("cannot open ", path_.string(), subject_of(path_), " is missing or unreadable (",
                             std::strerror(reason), ")"));
    struct stat found = {};
    std::string problem;
    if (::fstat(descriptor_, &found) != 0) {
        problem = concat("fstat of ", path_.string(), " failed: ", std::strerror(errno));
    } else if (!S_ISREG(found.st_mode)) {
        problem = concat(path_.string(), links == Links::refused
                                             ? " is no regular file, as every file of a checkpoint is"
                                             : " is no regular file, nor a link to one");
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

void RegularFile::forget_cached(Range bytes) const {
    // Advice only: file systems in memory have no disk to read from, and say nothing.
    static_cast<void>(::posix_fadvise(descriptor_, bytes.begin, bytes.size(), POSIX_FADV_DONTNEED));
}

bool RegularFile::is_hole(Range bytes) const {
    const off_t stored = ::lseek(descriptor_, bytes.begin, SEEK_DATA);
    return stored < 0 ? errno == ENXIO : stored >= bytes.end;
}

void RegularFile::read_stored(index_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const auto end = offset + std::ssize(bytes);
        // Where a file system does not tell, all is stored.
        off_t stored = ::lseek(descriptor_, offset, SEEK_DATA);
        if (stored < 0) stored = errno == ENXIO ? end : offset;
        stored = std::min<off_t>(stored, end);
        off_t hole = stored < end ? ::lseek(descriptor_, stored, SEEK_HOLE) : end;
        if (hole < 0 || hole > end) hole = end;
        std::ranges::fill(bytes.first(static_cast<std::size_t>(stored - offset)), std::byte{0});
        read(stored, bytes.subspan(static_cast<std::size_t>(stored - offset),
                                   static_cast<std::size_t>(hole - stored)));
        bytes = bytes.subspan(static_cast<std::size_t>(hole - offset));
        offset = hole;
    }
}

index_t regular_file_bytes(const std::filesystem::path& path, Links links) {
    return RegularFile(path, links).bytes();
}

std::string read_regular_text(const std::filesystem::path& path, index_t max_bytes, Links links) {
    const RegularFile file(path, links);
    if (file.bytes() > max_bytes)
        throw IoError(
            concat(path.string(), " has ", file.bytes(), " bytes; at most ", max_bytes, " are read"));
    std::string text(static_cast<std::size_t>(file.bytes()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace sy::runtime::detail
