#pragma once

#include <filesystem>
#include <string>

namespace sy::runtime {

/// Keeps other runs out of a run's folder for as long as it lives: a lock of the system on run/run.lock, which ends with
/// the process that holds it, however that ends, on network file systems too.
class RunLock {
  public:
    /// @param run  is made when it is not there
    /// @throws IoError when another run holds the lock, naming its host and process; or when the file system has none
    explicit RunLock(const std::filesystem::path& run);
    ~RunLock();
    RunLock(const RunLock&) = delete;
    RunLock& operator=(const RunLock&) = delete;

  private:
    int descriptor_;
};

namespace detail {
/// What to say when a lock was not to be had. @param reason  of the system @param holder  what the file says
std::string no_lock_because(const std::filesystem::path& file, int reason, const std::string& holder);
}  // namespace detail

}  // namespace sy::runtime
