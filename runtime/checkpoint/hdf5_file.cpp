#include "runtime/checkpoint/hdf5_file.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "runtime/checkpoint/hdf5_handle.hpp"

namespace sy::runtime {
namespace detail {

std::mutex& hdf5_mutex() {
    static std::mutex mutex;
    return mutex;
}

}  // namespace detail

namespace {

using detail::check_hdf5;
using Handle = detail::Hdf5Handle;

std::vector<hsize_t> to_sizes(std::span<const index_t> values) {
    return {values.begin(), values.end()};
}

Handle make_space(std::span<const index_t> dims, const std::string& path, const std::string& name) {
    const std::vector<hsize_t> sizes = to_sizes(dims);
    return {check_hdf5(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
                       "H5Screate_simple", path, name),
            H5Sclose};
}

void select(const Handle& space, const Region& region, const std::string& path, const std::string& name) {
    if (region.num_elements() == 0) {
        check_hdf5(H5Sselect_none(space.get()), "H5Sselect_none", path, name);
        return;
    }
    const std::vector<hsize_t> start = to_sizes(region.start);
    const std::vector<hsize_t> count = to_sizes(region.count);
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
               "H5Sselect_hyperslab", path, name);
}

/// How datasets are made: groups on the way, space at once, no fill values, and no times, so that equal contents are
/// equal files.
struct Creation {
    Handle links;
    Handle data;

    Creation(const std::string& path, const std::string& name)
        : links(check_hdf5(H5Pcreate(H5P_LINK_CREATE), "H5Pcreate", path, name), H5Pclose),
          data(check_hdf5(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate", path, name), H5Pclose) {
        check_hdf5(H5Pset_create_intermediate_group(links.get(), 1), "H5Pset_create_intermediate_group", path,
                   name);
        check_hdf5(H5Pset_obj_track_times(data.get(), false), "H5Pset_obj_track_times", path, name);
    }
};

Handle create(hid_t file, const std::string& path, const std::string& name, const Handle& space,
              const Creation& creation) {
    return {check_hdf5(H5Dcreate2(file, name.c_str(), H5T_IEEE_F32LE, space.get(), creation.links.get(),
                                  creation.data.get(), H5P_DEFAULT),
                       "H5Dcreate2", path, name),
            H5Dclose};
}

}  // namespace

index_t Region::num_elements() const {
    index_t elements = 1;
    for (const index_t side : count) elements *= side;
    return count.empty() ? 0 : elements;
}

void Hdf5File::start_library() {
    const std::lock_guard lock(detail::hdf5_mutex());
    check_hdf5(H5open(), "H5open", "the HDF5 library", "");
}

Hdf5File::Hdf5File(const std::string& path, Mode mode) : path_(path) {
    const std::lock_guard lock(detail::hdf5_mutex());
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    if (mode == Mode::create) {
        handle_ = check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), "H5Fcreate",
                             path, "");
    } else {
        const unsigned access = mode == Mode::read ? H5F_ACC_RDONLY : H5F_ACC_RDWR;
        handle_ = check_hdf5(H5Fopen(path.c_str(), access, H5P_DEFAULT), "H5Fopen", path, "");
    }
}

Hdf5File::~Hdf5File() {
    // A file that others hold open as well can only be closed together with them.
    if (handle_ < 0 || transfer_ == Transfer::collective) return;
    const std::lock_guard lock(detail::hdf5_mutex());
    if (H5Fclose(handle_) < 0) std::fprintf(stderr, "switchyard: closing %s failed\n", path_.c_str());
}

void Hdf5File::create_dataset(const std::string& name, std::span<const index_t> dims) {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Creation creation(path_, name);
    check_hdf5(H5Pset_alloc_time(creation.data.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time", path_,
               name);
    check_hdf5(H5Pset_fill_time(creation.data.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", path_, name);
    create(handle_, path_, name, make_space(dims, path_, name), creation);
}

void Hdf5File::create_virtual(const std::string& name, std::span<const index_t> dims,
                              std::span<const VirtualPart> parts) {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Creation creation(path_, name);
    const float missing = std::numeric_limits<float>::quiet_NaN();
    check_hdf5(H5Pset_fill_value(creation.data.get(), H5T_NATIVE_FLOAT, &missing), "H5Pset_fill_value", path_,
               name);
    const Handle space = make_space(dims, path_, name);
    for (const VirtualPart& part : parts) {
        const index_t source_dims[] = {part.rows, part.cols};
        const Handle source = make_space(source_dims, path_, name);
        select(space, part.region, path_, name);
        check_hdf5(H5Pset_virtual(creation.data.get(), space.get(), part.file.c_str(), part.dataset.c_str(),
                                  source.get()),
                   "H5Pset_virtual", path_, name);
    }
    create(handle_, path_, name, make_space(dims, path_, name), creation);
}

void Hdf5File::write_attribute(const std::string& name, const char* key, std::span<const index_t> values) {
    const std::lock_guard lock(detail::hdf5_mutex());
    const auto count = static_cast<index_t>(values.size());
    const Handle space = make_space(std::span(&count, 1), path_, name);
    const Handle object(check_hdf5(H5Oopen(handle_, name.c_str(), H5P_DEFAULT), "H5Oopen", path_, name),
                        H5Oclose);
    const Handle attribute(
        check_hdf5(H5Acreate2(object.get(), key, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                   "H5Acreate2", path_, name),
        H5Aclose);
    check_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()), "H5Awrite", path_, name);
}

void Hdf5File::write(const std::string& name, const Region& region, std::span<const float> values) {
    const std::lock_guard lock(detail::hdf5_mutex());
    SY_REQUIRE(static_cast<index_t>(values.size()) == region.num_elements(), "checkpoint: ", values.size(),
               " values for ", region.num_elements(), " places of ", name);
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    select(space, region, path_, name);
    const index_t count = region.num_elements();
    const Handle memory = make_space(std::span(&count, 1), path_, name);
    if (count == 0) check_hdf5(H5Sselect_none(memory.get()), "H5Sselect_none", path_, name);
    const Handle transfer(check_hdf5(H5Pcreate(H5P_DATASET_XFER), "H5Pcreate", path_, name), H5Pclose);
#ifdef H5_HAVE_PARALLEL
    if (transfer_ == Transfer::collective)
        check_hdf5(H5Pset_dxpl_mpio(transfer.get(), H5FD_MPIO_COLLECTIVE), "H5Pset_dxpl_mpio", path_, name);
#endif
    check_hdf5(
        H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), transfer.get(), values.data()),
        "H5Dwrite", path_, name);
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
    if (found != to_sizes(dims))
        throw IoError(concat(path_, ":", name, " does not have the shape that the manifest says"));
    select(space, region, path_, name);
    const index_t count = region.num_elements();
    const Handle memory = make_space(std::span(&count, 1), path_, name);
    check_hdf5(
        H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, values.data()),
        "H5Dread", path_, name);
}

void Hdf5File::close() {
    const std::lock_guard lock(detail::hdf5_mutex());
    check_hdf5(H5Fclose(std::exchange(handle_, -1)), "H5Fclose", path_, "");
}

}  // namespace sy::runtime
