#include "runtime/checkpoint/hdf5/file.hpp"

#include <algorithm>
#include <cstdio>

#include "runtime/checkpoint/hdf5/handle.hpp"

namespace sy::runtime {
namespace detail {

std::mutex& hdf5_mutex() {
    static std::mutex mutex;
    // The library gets no exit handler: files are closed before, and over one whose closing failed the library's
    // handler ends the program with a signal. It fails where it was called before, which is as good.
    static const herr_t unused = H5dont_atexit();
    static_cast<void>(unused);
    return mutex;
}

Hdf5Handle make_space(std::span<const index_t> dims, const std::string& path, const std::string& name) {
    const std::vector<hsize_t> sizes(dims.begin(), dims.end());
    return {check_hdf5(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
                       "H5Screate_simple", path, name),
            H5Sclose};
}

void select(const Hdf5Handle& space, const Region& region, const std::string& path, const std::string& name) {
    const std::vector<hsize_t> start(region.start.begin(), region.start.end());
    const std::vector<hsize_t> count(region.count.begin(), region.count.end());
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
               "H5Sselect_hyperslab", path, name);
}

}  // namespace detail

using detail::check_hdf5;
using Handle = detail::Hdf5Handle;

index_t Region::num_elements() const {
    index_t elements = 1;
    for (const index_t side : count) elements *= side;
    return count.empty() ? 0 : elements;
}

void Hdf5File::start_library() {
    const std::lock_guard lock(detail::hdf5_mutex());
    check_hdf5(H5open(), "H5open", "the HDF5 library", "");
}

Hdf5File::Hdf5File(const std::string& path) : path_(path) {
    const std::lock_guard lock(detail::hdf5_mutex());
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    handle_ = check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), "H5Fopen", path, "");
}

Hdf5File::~Hdf5File() {
    const std::lock_guard lock(detail::hdf5_mutex());
    if (H5Fclose(handle_) < 0) std::fprintf(stderr, "switchyard: closing %s failed\n", path_.c_str());
}

void Hdf5File::read(const std::string& name, std::span<const index_t> dims, const Region& region,
                    std::span<float> values) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    SY_REQUIRE(static_cast<index_t>(values.size()) == region.num_elements(), "checkpoint: ", values.size(),
               " values for ", region.num_elements(), " places of ", name);
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    std::vector<hsize_t> found(
        static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
    H5Sget_simple_extent_dims(space.get(), found.data(), nullptr);
    if (!std::equal(found.begin(), found.end(), dims.begin(), dims.end(),
                    [](hsize_t a, index_t b) { return static_cast<index_t>(a) == b; }))
        throw IoError(concat(path_, ":", name, " does not have the shape that the manifest says"));
    detail::select(space, region, path_, name);
    const index_t count = region.num_elements();
    const Handle memory = detail::make_space(std::span(&count, 1), path_, name);
    check_hdf5(
        H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, values.data()),
        "H5Dread", path_, name);
}

}  // namespace sy::runtime
