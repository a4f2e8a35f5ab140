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

hid_t file_type(ElementType type) {
    switch (type) {
        case ElementType::f32:
            return H5T_IEEE_F32LE;
        case ElementType::i32:
            return H5T_STD_I32LE;
        case ElementType::u8:
            return H5T_STD_U8LE;
    }
    SY_REQUIRE(false, "HDF5: no such type of elements");
    return H5I_INVALID_HID;
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

namespace {

std::vector<index_t> dims_of_space(const Handle& space) {
    std::vector<hsize_t> found(
        static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
    H5Sget_simple_extent_dims(space.get(), found.data(), nullptr);
    return {found.begin(), found.end()};
}

}  // namespace

index_t bytes_of(ElementType type) {
    return type == ElementType::u8 ? 1 : 4;
}

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
    if (!std::ranges::equal(dims_of_space(space), dims))
        throw IoError(concat(path_, ":", name, " does not have the shape that the manifest says"));
    detail::select(space, region, path_, name);
    const index_t count = region.num_elements();
    const Handle memory = detail::make_space(std::span(&count, 1), path_, name);
    check_hdf5(
        H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, values.data()),
        "H5Dread", path_, name);
}

std::vector<index_t> Hdf5File::dims_of(const std::string& name, ElementType type) const {
    check_plain(name, type);
    const std::lock_guard lock(detail::hdf5_mutex());
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    std::vector<index_t> dims = dims_of_space(space);
    hsize_t file_bytes = 0;
    check_hdf5(H5Fget_filesize(handle_, &file_bytes), "H5Fget_filesize", path_, "");
    // By division, as a product of what a foreign file claims could leave the range.
    auto room = static_cast<index_t>(file_bytes) / bytes_of(type);
    for (const index_t side : dims) {
        if (side > 0) room /= side;
        if (room == 0 && std::ranges::find(dims, 0) == dims.end())
            throw IoError(concat(path_, ":", name, " claims more values than the file has bytes"));
    }
    return dims;
}

void Hdf5File::read_all(const std::string& name, ElementType type, std::span<std::byte> values) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    index_t bytes = bytes_of(type);
    for (const index_t side : dims_of_space(space)) bytes *= side;
    SY_REQUIRE(static_cast<index_t>(values.size()) == bytes, path_, ":", name, ": ", values.size(),
               " bytes for the ", bytes, " of its values");
    check_hdf5(H5Dread(dataset.get(), detail::file_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
               "H5Dread", path_, name);
}

std::vector<index_t> Hdf5File::attribute(const std::string& name, const char* key) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Handle attribute(check_hdf5(H5Aopen_by_name(handle_, name.c_str(), key, H5P_DEFAULT, H5P_DEFAULT),
                                      "H5Aopen_by_name", path_, concat(name, "@", key)),
                           H5Aclose);
    const Handle space(check_hdf5(H5Aget_space(attribute.get()), "H5Aget_space", path_, name), H5Sclose);
    const Handle type(check_hdf5(H5Aget_type(attribute.get()), "H5Aget_type", path_, name), H5Tclose);
    const std::vector<index_t> dims = dims_of_space(space);
    // HDF5 limits an attribute to 64 KiB, but for one that is stored apart, as no writer of ours does.
    constexpr index_t kMost = 1 << 20;
    if (dims.size() != 1 || dims[0] > kMost || H5Tequal(type.get(), H5T_STD_I64LE) <= 0)
        throw IoError(concat(path_, ":", name, "@", key, " is not a row of 64-bit whole numbers"));
    std::vector<index_t> values(static_cast<std::size_t>(dims[0]));
    check_hdf5(H5Aread(attribute.get(), H5T_NATIVE_INT64, values.data()), "H5Aread", path_, name);
    return values;
}

}  // namespace sy::runtime
