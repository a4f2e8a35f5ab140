#include "runtime/checkpoint/hdf5_handle.hpp"

namespace sy::runtime::detail {
namespace {

struct Reason {
    std::string innermost;  ///< what the function says that failed first
    bool lock = false;      ///< whether a lock was what failed
};

herr_t look_at(unsigned position, const H5E_error2_t* error, void* found) noexcept {
    auto& reason = *static_cast<Reason*>(found);
    if (position == 0 && error->desc != nullptr) reason.innermost = error->desc;
    if (error->min_num == H5E_CANTLOCKFILE) reason.lock = true;
    return 0;
}

}  // namespace

std::string hdf5_reason() {
    Reason reason;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, look_at, &reason);
    if (reason.innermost.empty()) return "HDF5 gives no reason";
    if (!reason.lock) return reason.innermost;
    return reason.innermost +
           "; another program has the file locked, or its file system has no locks: end that program, or set "
           "HDF5_USE_FILE_LOCKING=FALSE if nothing writes the file";
}

}  // namespace sy::runtime::detail
