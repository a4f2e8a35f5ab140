#include "runtime/checkpoint/hdf5/file_lock.hpp"
#include "runtime/checkpoint/hdf5/handle.hpp"

namespace sy::runtime::detail {
namespace {

struct Reason {
    std::string stack;
    bool lock = false;  ///< whether a lock was what failed
};

herr_t add_error(unsigned, const H5E_error2_t* error, void* walked) noexcept {
    auto& reason = *static_cast<Reason*>(walked);
    const auto text = [](const char* given) { return given == nullptr ? "?" : given; };
    reason.stack +=
        concat(reason.stack.empty() ? "" : ", ", text(error->desc), " (", text(error->func_name), ")");
    if (error->min_num == H5E_CANTLOCKFILE) reason.lock = true;
    return 0;
}

}  // namespace

void throw_hdf5_error(const std::string& what) {
    Reason reason;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, add_error, &reason);
    const std::string text = concat(what, ": ", reason.stack.empty() ? "HDF5 gives no reason" : reason.stack);
    if (!reason.lock) throw IoError(text);
    throw FileLockError(
        text +
        "; perhaps another program has the file locked, or its file system has no locks: end that program, "
        "or set HDF5_USE_FILE_LOCKING=FALSE if nothing writes the file");
}

}  // namespace sy::runtime::detail
