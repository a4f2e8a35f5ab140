#include "runtime/checkpoint/hdf5_handle.hpp"

namespace sy::runtime::detail {
namespace {

/// Keeps the first entry of the walk, which is the innermost.
herr_t keep_first(unsigned position, const H5E_error2_t* error, void* reason) noexcept {
    if (position == 0 && error->desc != nullptr) *static_cast<std::string*>(reason) = error->desc;
    return 0;
}

}  // namespace

std::string hdf5_reason() {
    std::string reason;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);
    if (reason.empty()) return "HDF5 gives no reason";
    if (reason.find("lock") != std::string::npos) {
        reason +=
            "; another program has the file locked, or its file system has no locks: end that program, or "
            "set "
            "HDF5_USE_FILE_LOCKING=FALSE if nothing writes the file";
    }
    return reason;
}

}  // namespace sy::runtime::detail
