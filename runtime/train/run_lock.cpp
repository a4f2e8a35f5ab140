#include "runtime/train/run_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/telemetry/records.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kMostBytes = 4096;

/// Locks the open file, not for the process: two runs in one process exclude each other too. @return 0 or the system's
/// reason
int take_lock(int descriptor) {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return ::fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

/// @return 0 or the system's reason
int write_holder(int descriptor) {
    const std::string text = concat("host ", host_name(), ", process ", ::getpid(), "\n");
    if (::ftruncate(descriptor, 0) != 0) return errno;
    const ssize_t count = ::pwrite(descriptor, text.data(), text.size(), 0);
    if (count < 0) return errno;
    return count == static_cast<ssize_t>(text.size()) ? 0 : ENOSPC;
}

}  // namespace

std::string detail::no_lock_because(const std::filesystem::path& file, int reason,
                                    const std::string& holder) {
    const std::string run = file.parent_path().string();
    if (reason == EAGAIN || reason == EACCES)
        return concat("run.directory = ", run, " is in use by another run (", holder,
                      "); wait for its end, or set another run.directory");
    return concat("cannot lock ", file.string(), ": ", std::strerror(reason),
                  "; the file system may have no lock service (NFS: lockd; Lustre: mount option flock); set ",
                  "run.lock = no if no other run can use this folder");
}

RunLock::RunLock(const std::filesystem::path& run) {
    const std::filesystem::path file = run / "run.lock";
    std::filesystem::create_directories(run);
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor_ < 0) throw IoError(concat("open of ", file.string(), " failed: ", std::strerror(errno)));
    if (const int reason = take_lock(descriptor_); reason != 0) {
        ::close(descriptor_);
        std::string holder = detail::read_regular_text(file, kMostBytes);
        if (!holder.empty() && holder.back() == '\n') holder.pop_back();
        throw IoError(detail::no_lock_because(file, reason, holder));
    }
    if (const int reason = write_holder(descriptor_); reason != 0) {
        ::close(descriptor_);
        throw IoError(concat("writing ", file.string(), " failed: ", std::strerror(reason)));
    }
}

RunLock::~RunLock() {
    ::close(descriptor_);
}

}  // namespace sy::runtime
