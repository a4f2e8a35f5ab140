#include "runtime/checkpoint/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime::detail {
namespace {

class RegularFile {
  public:
    explicit RegularFile(const std::filesystem::path& path)
        : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) {
        const int reason = errno;
        if (descriptor_ < 0 && reason == ELOOP)
            throw IoError(
                concat(path.string(), " is a link; files of a checkpoint are regular files in its folder"));
        if (descriptor_ < 0)
            throw IoError(concat("cannot open ", path.string(), ": it is missing or unreadable (",
                                 std::strerror(reason), ")"));
    }
    RegularFile(const RegularFile&) = delete;
    RegularFile& operator=(const RegularFile&) = delete;
    ~RegularFile() { ::close(descriptor_); }

    /// @throws IoError when it is no regular file
    index_t bytes() const {
        struct stat found = {};
        if (::fstat(descriptor_, &found) != 0)
            throw IoError(concat("fstat of ", path_.string(), " failed: ", std::strerror(errno)));
        if (!S_ISREG(found.st_mode))
            throw IoError(concat(path_.string(), " is no regular file, as every file of a checkpoint is"));
        return found.st_size;
    }

    std::string text(index_t bytes) const {
        std::string text(static_cast<std::size_t>(bytes), '\0');
        std::size_t filled = 0;
        while (filled < text.size()) {
            const ssize_t count = ::read(descriptor_, text.data() + filled, text.size() - filled);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0)
                throw IoError(concat("reading ", path_.string(), " failed: ", std::strerror(errno)));
            if (count == 0) break;
            filled += static_cast<std::size_t>(count);
        }
        text.resize(filled);
        return text;
    }

  private:
    const std::filesystem::path& path_;
    int descriptor_;
};

}  // namespace

index_t regular_file_bytes(const std::filesystem::path& path) {
    return RegularFile(path).bytes();
}

std::string read_regular_text(const std::filesystem::path& path, index_t max_bytes) {
    const RegularFile file(path);
    const index_t bytes = file.bytes();
    if (bytes > max_bytes)
        throw IoError(concat(path.string(), " has ", bytes, " bytes; at most ", max_bytes, " are read"));
    return file.text(bytes);
}

}  // namespace sy::runtime::detail
