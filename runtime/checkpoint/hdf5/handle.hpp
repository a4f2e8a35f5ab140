#pragma once

#include <hdf5.h>

#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"

/// What every caller of HDF5 needs: the lock, handles and checks. For this folder alone.
namespace sy::runtime::detail {

/// The library's own state is global and not thread-safe, so its lock has to be as well. Whoever calls it holds this, from
/// the first call on.
std::mutex& hdf5_mutex();

/// An HDF5 handle and the function that releases it.
class Hdf5Handle {
  public:
    Hdf5Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
    Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
    Hdf5Handle(const Hdf5Handle&) = delete;
    Hdf5Handle& operator=(const Hdf5Handle&) = delete;
    Hdf5Handle& operator=(Hdf5Handle&&) = delete;
    ~Hdf5Handle() {
        if (id_ >= 0) close_(id_);
    }
    hid_t get() const { return id_; }

  private:
    hid_t id_;
    herr_t (*close_)(hid_t);
};

/// @throws IoError with `what` and the library's error stack of the last failed call: what each function says, with its name,
///         from the one that failed first to the one that was called; FileLockError when a lock was among them, with a guess
///         at the cause and what to try last
[[noreturn]] void throw_hdf5_error(const std::string& what);

/// @throws IoError or FileLockError with the call, the file and the dataset when `status` is negative
template <class T>
T check_hdf5(T status, const char* call, const std::string& path, const std::string& name) {
    if (status >= 0) return status;
    throw_hdf5_error(concat(call, " failed for ", path, name.empty() ? "" : ":", name));
}

/// The type as files hold it. Not to be closed.
hid_t file_type(ElementType type);
/// A space of these dimensions.
Hdf5Handle make_space(std::span<const index_t> dims, const std::string& path, const std::string& name);
/// Chooses a block of a space.
void select(const Hdf5Handle& space, const Region& region, const std::string& path, const std::string& name);

}  // namespace sy::runtime::detail
