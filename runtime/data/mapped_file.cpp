#include "runtime/data/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Closes on every way out.
class FileDescriptor {
  public:
    explicit FileDescriptor(int number) : number_(number) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int get() const { return number_; }

  private:
    int number_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
    // Without O_NONBLOCK a pipe that nobody writes to would be waited for, only to be refused.
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0)
        throw IoError(concat(path, " is not a file that can be read: ", std::strerror(errno)));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0)
        throw IoError(concat("cannot examine ", path, ": ", std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) {
        throw IoError(concat(path, S_ISDIR(status.st_mode) ? " is a folder" : " is a device or pipe",
                             ", and is not a file that can be mapped; name a file"));
    }
    if (status.st_size == 0) throw IoError(concat(path, " is empty"));
    size_ = static_cast<std::size_t>(status.st_size);
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
    if (memory == MAP_FAILED)
        throw IoError(concat("cannot map the ", size_, " bytes of ", path, ": ", std::strerror(errno)));
    data_ = static_cast<const std::byte*>(memory);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace sy::runtime
