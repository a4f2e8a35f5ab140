#include "comm/shared/shared_segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <random>

namespace sy::comm {
namespace {

/// Segments of this process by name: ranks that are threads share the mapping.
struct Registry {
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<SharedSegment>> segments;
};

Registry& registry() {
    static Registry the_registry;
    return the_registry;
}

[[noreturn]] void fail(const char* attempted, const std::string& name, index_t bytes, int error) {
    throw IoError(
        concat(attempted, " shared memory ", name, " of ", bytes, " bytes: ", std::strerror(error),
               "; /dev/shm has ", SharedSegment::room_bytes(),
               " bytes left. Make /dev/shm larger, or use parallel.exchange = flat, which needs none."));
}

}  // namespace

index_t SharedSegment::room_bytes() {
    struct statvfs room {};
    if (statvfs("/dev/shm", &room) != 0) return 0;
    return static_cast<index_t>(room.f_bavail * room.f_frsize);
}

std::string SharedSegment::new_name() {
    std::random_device random;
    std::string name = "/switchyard-";
    for (int word = 0; word < 4; ++word) {
        constexpr const char* kDigits = "0123456789abcdef";
        for (std::uint32_t bits = random(), digit = 0; digit < 8; ++digit, bits >>= 4)
            name += kDigits[bits & 15U];
    }
    return name;
}

SharedSegment::SharedSegment(std::string name, index_t bytes, int file, std::byte* data, bool has_name)
    : name_(std::move(name)), has_name_(has_name), bytes_(bytes), file_(file), data_(data) {}

SharedSegment::~SharedSegment() {
    unlink();
    munmap(data_, static_cast<std::size_t>(bytes_));
    ::close(file_);
}

std::shared_ptr<SharedSegment> SharedSegment::map(const std::string& name, index_t bytes, bool is_new) {
    const int file = shm_open(name.c_str(), is_new ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, S_IRUSR | S_IWUSR);
    if (file < 0) fail(is_new ? "creating" : "opening", name, bytes, errno);
    void* address = MAP_FAILED;
    if (!is_new || ftruncate(file, bytes) == 0)
        address = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) {
        const int error = errno;
        ::close(file);
        if (is_new) shm_unlink(name.c_str());
        fail("mapping", name, bytes, error);
    }
    // Advice only: without huge pages the memory is slower to touch, not wrong.
    madvise(address, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
    return std::shared_ptr<SharedSegment>(
        new SharedSegment(name, bytes, file, static_cast<std::byte*>(address), is_new));
}

std::shared_ptr<SharedSegment> SharedSegment::create(const std::string& name, index_t bytes) {
    std::shared_ptr<SharedSegment> segment = map(name, bytes, true);
    Registry& known = registry();
    const std::lock_guard lock(known.mutex);
    std::erase_if(known.segments, [](const auto& entry) { return entry.second.expired(); });
    known.segments[name] = segment;
    return segment;
}

std::shared_ptr<SharedSegment> SharedSegment::open(const std::string& name, index_t bytes) {
    {
        Registry& known = registry();
        const std::lock_guard lock(known.mutex);
        const auto found = known.segments.find(name);
        if (found != known.segments.end()) {
            if (std::shared_ptr<SharedSegment> segment = found->second.lock()) return segment;
        }
    }
    return map(name, bytes, false);
}

void SharedSegment::reserve(Range part) {
    if (part.size() == 0) return;
    const int error = posix_fallocate(file_, part.begin, part.size());
    if (error != 0) fail("reserving", name_, part.size(), error);
}

void SharedSegment::unlink() {
    if (has_name_.exchange(false)) shm_unlink(name_.c_str());
}

}  // namespace sy::comm
