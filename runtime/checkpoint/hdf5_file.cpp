#include "runtime/checkpoint/hdf5_file.hpp"

#include <hdf5.h>

#include <cstdio>
#include <mutex>
#include <utility>
#include <vector>

namespace sy::runtime {
namespace {

/// The library's own state is global and not thread-safe, so its lock has to be as well.
std::mutex& library_mutex() {
    static std::mutex mutex;
    return mutex;
}

/// An HDF5 handle and the function that releases it.
class Handle {
  public:
    Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() {
        if (id_ >= 0) close_(id_);
    }
    hid_t get() const { return id_; }

  private:
    hid_t id_;
    herr_t (*close_)(hid_t);
};

template <class T>
T check(T status, const char* call, const std::string& path, const std::string& name) {
    if (status >= 0) return status;
    throw IoError(concat(call, " failed for ", path, name.empty() ? "" : ":", name,
                         "; the file may be damaged, or the disk full"));
}

void write_attribute(hid_t dataset, const char* name, std::span<const index_t> values,
                     const std::string& path) {
    const hsize_t count = values.size();
    const Handle space(check(H5Screate_simple(1, &count, nullptr), "H5Screate_simple", path, name), H5Sclose);
    const Handle attribute(
        check(H5Acreate2(dataset, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), "H5Acreate2",
              path, name),
        H5Aclose);
    check(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()), "H5Awrite", path, name);
}

}  // namespace

Hdf5File::Hdf5File(const std::string& path, Mode mode) : path_(path) {
    const std::lock_guard lock(library_mutex());
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    if (mode == Mode::create) {
        handle_ =
            check(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), "H5Fcreate", path, "");
    } else {
        handle_ = check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), "H5Fopen", path, "");
    }
}

Hdf5File::~Hdf5File() {
    const std::lock_guard lock(library_mutex());
    if (handle_ >= 0 && H5Fclose(handle_) < 0)
        std::fprintf(stderr, "switchyard: closing %s failed\n", path_.c_str());
}

void Hdf5File::write(const std::string& name, index_t rows, index_t cols, std::span<const float> values,
                     std::span<const index_t> global_shape, std::span<const index_t> offset) {
    const std::lock_guard lock(library_mutex());
    const hsize_t dims[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(cols)};
    SY_REQUIRE(values.size() == dims[0] * dims[1], "checkpoint: ", values.size(), " values for ", name);
    const Handle space(check(H5Screate_simple(2, dims, nullptr), "H5Screate_simple", path_, name), H5Sclose);
    const Handle links(check(H5Pcreate(H5P_LINK_CREATE), "H5Pcreate", path_, name), H5Pclose);
    check(H5Pset_create_intermediate_group(links.get(), 1), "H5Pset_create_intermediate_group", path_, name);
    const Handle dataset(check(H5Dcreate2(handle_, name.c_str(), H5T_IEEE_F32LE, space.get(), links.get(),
                                          H5P_DEFAULT, H5P_DEFAULT),
                               "H5Dcreate2", path_, name),
                         H5Dclose);
    check(H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "H5Dwrite",
          path_, name);
    write_attribute(dataset.get(), "global_shape", global_shape, path_);
    write_attribute(dataset.get(), "offset", offset, path_);
}

void Hdf5File::read(const std::string& name, Range rows, index_t cols, std::span<float> values) const {
    const std::lock_guard lock(library_mutex());
    const Handle dataset(check(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle space(check(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    hsize_t dims[2] = {0, 0};
    if (H5Sget_simple_extent_ndims(space.get()) != 2 ||
        H5Sget_simple_extent_dims(space.get(), dims, nullptr) != 2 ||
        static_cast<index_t>(dims[0]) < rows.end || static_cast<index_t>(dims[1]) != cols) {
        throw IoError(concat(path_, ":", name, " is [", dims[0], ", ", dims[1], "]; rows ", rows.begin,
                             " to ", rows.end, " of ", cols, " columns were expected"));
    }
    const hsize_t start[2] = {static_cast<hsize_t>(rows.begin), 0};
    const hsize_t count[2] = {static_cast<hsize_t>(rows.size()), dims[1]};
    check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start, nullptr, count, nullptr),
          "H5Sselect_hyperslab", path_, name);
    const Handle memory(check(H5Screate_simple(2, count, nullptr), "H5Screate_simple", path_, name),
                        H5Sclose);
    check(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, values.data()),
          "H5Dread", path_, name);
}

void Hdf5File::close() {
    const std::lock_guard lock(library_mutex());
    check(H5Fclose(std::exchange(handle_, -1)), "H5Fclose", path_, "");
}

}  // namespace sy::runtime
