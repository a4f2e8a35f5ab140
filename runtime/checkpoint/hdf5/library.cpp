#include "runtime/checkpoint/hdf5/library.hpp"

#include "runtime/checkpoint/hdf5/handle.hpp"

namespace sy::runtime {

std::string hdf5_library() {
    const std::lock_guard lock(detail::hdf5_mutex());
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;
    if (H5get_libversion(&major, &minor, &release) < 0) throw IoError("HDF5: H5get_libversion failed");
#ifdef H5_HAVE_PARALLEL
    constexpr const char* kParallel = ", parallel";
#else
    constexpr const char* kParallel = ", not parallel";
#endif
    return concat(major, ".", minor, ".", release, kParallel);
}

}  // namespace sy::runtime
