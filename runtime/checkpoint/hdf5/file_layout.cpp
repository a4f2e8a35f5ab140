#include "runtime/checkpoint/hdf5/file_layout.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/checkpoint/hdf5/handle.hpp"

namespace sy::runtime {
namespace {

using detail::check_hdf5;
using Handle = detail::Hdf5Handle;

}  // namespace

/// How datasets are made: groups on the way, and no times, so that equal contents are equal files.
struct FileLayout::Creation {
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

namespace {

Handle create(hid_t file, const std::string& path, const std::string& name, const Handle& space,
              const Handle& links, const Handle& data, ElementType type) {
    return {check_hdf5(H5Dcreate2(file, name.c_str(), detail::file_type(type), space.get(), links.get(),
                                  data.get(), H5P_DEFAULT),
                       "H5Dcreate2", path, name),
            H5Dclose};
}

}  // namespace

FileLayout::FileLayout(std::string path)
    : path_(std::move(path)), memory_(::memfd_create("checkpoint layout", MFD_CLOEXEC)) {
    if (memory_ < 0)
        throw IoError(concat("memfd_create failed while laying out ", path_, ": ", std::strerror(errno)));
    const std::lock_guard lock(detail::hdf5_mutex());
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    try {
        const std::string name = concat("/proc/self/fd/", memory_);
        // The default driver wants a path without links to it.
        const Handle driver(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", path_, ""), H5Pclose);
        check_hdf5(H5Pset_fapl_stdio(driver.get()), "H5Pset_fapl_stdio", path_, "");
        file_ = check_hdf5(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, driver.get()),
                           "H5Fcreate in memory", path_, "");
        // Their space is there at once, without values.
        creation_ = std::make_unique<Creation>(path_, "");
        check_hdf5(H5Pset_alloc_time(creation_->data.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time", path_,
                   "");
        check_hdf5(H5Pset_fill_time(creation_->data.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", path_,
                   "");
    } catch (...) {
        creation_.reset();
        if (file_ >= 0) H5Fclose(file_);
        ::close(memory_);
        throw;
    }
}

FileLayout::~FileLayout() {
    const std::lock_guard lock(detail::hdf5_mutex());
    creation_.reset();
    if (file_ >= 0) H5Fclose(file_);
    ::close(memory_);
}

void FileLayout::add_dataset(const std::string& name, std::span<const index_t> dims,
                             std::span<const Attribute> attributes, ElementType type) {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Handle dataset = create(file_, path_, name, detail::make_space(dims, path_, name), creation_->links,
                                  creation_->data, type);
    for (const Attribute& attribute : attributes) attach(dataset.get(), name, attribute);
    index_t bytes = bytes_of(type);
    for (const index_t side : dims) bytes *= side;
    if (bytes == 0) return;
    const haddr_t offset = H5Dget_offset(dataset.get());
    if (offset == HADDR_UNDEF)
        detail::throw_hdf5_error(concat("H5Dget_offset failed for ", path_, ":", name));
    const auto begin = static_cast<index_t>(offset);
    values_[begin] = {begin, bytes, name, {}};
}

void FileLayout::add_virtual(const std::string& name, std::span<const index_t> dims,
                             std::span<const VirtualPart> parts) {
    const std::lock_guard lock(detail::hdf5_mutex());
    const Creation creation(path_, name);
    const float missing = std::numeric_limits<float>::quiet_NaN();
    check_hdf5(H5Pset_fill_value(creation.data.get(), H5T_NATIVE_FLOAT, &missing), "H5Pset_fill_value", path_,
               name);
    const Handle space = detail::make_space(dims, path_, name);
    for (const VirtualPart& part : parts) {
        const index_t source_dims[] = {part.rows, part.cols};
        const Handle source = detail::make_space(source_dims, path_, name);
        detail::select(space, part.region, path_, name);
        check_hdf5(H5Pset_virtual(creation.data.get(), space.get(), part.file.c_str(), part.dataset.c_str(),
                                  source.get()),
                   "H5Pset_virtual", path_, name);
    }
    create(file_, path_, name, detail::make_space(dims, path_, name), creation.links, creation.data,
           ElementType::f32);
}

void FileLayout::attach(hid_t object, const std::string& name, const Attribute& attribute) const {
    const auto count = static_cast<index_t>(attribute.values.size());
    const Handle space = detail::make_space(std::span(&count, 1), path_, name);
    const Handle made(
        check_hdf5(H5Acreate2(object, attribute.key, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                   "H5Acreate2", path_, name),
        H5Aclose);
    check_hdf5(H5Awrite(made.get(), H5T_NATIVE_INT64, attribute.values.data()), "H5Awrite", path_, name);
}

void FileLayout::add_attribute(const char* key, std::span<const index_t> values) {
    const std::lock_guard lock(detail::hdf5_mutex());
    attach(file_, "/", {key, values});
}

FileSection FileLayout::description_of(index_t begin, index_t end) const {
    FileSection section{
        begin, end - begin, {}, std::vector<std::byte>(static_cast<std::size_t>(end - begin))};
    std::size_t filled = 0;
    while (filled < section.description.size()) {
        const ssize_t count =
            ::pread(memory_, section.description.data() + filled, section.description.size() - filled,
                    begin + static_cast<index_t>(filled));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0)
            throw IoError(concat("pread of the layout of ", path_,
                                 " failed: ", count < 0 ? std::strerror(errno) : "it ends too early"));
        filled += static_cast<std::size_t>(count);
    }
    return section;
}

std::vector<FileSection> FileLayout::finish() {
    const std::lock_guard lock(detail::hdf5_mutex());
    creation_.reset();
    check_hdf5(H5Fclose(std::exchange(file_, -1)), "H5Fclose", path_, "");
    struct stat found = {};
    if (::fstat(memory_, &found) != 0)
        throw IoError(concat("fstat of the layout of ", path_, " failed: ", std::strerror(errno)));
    std::vector<FileSection> sections;
    index_t end = 0;
    for (auto& [offset, values] : values_) {
        SY_REQUIRE(offset >= end, "checkpoint: ", values.dataset, " begins at ", offset, " of ", path_,
                   ", before byte ", end, ", where the dataset before it ends");
        if (offset > end) sections.push_back(description_of(end, offset));
        end = offset + values.bytes;
        sections.push_back(std::move(values));
    }
    SY_REQUIRE(end <= found.st_size, "checkpoint: ", path_, " has ", found.st_size,
               " bytes, but values up to byte ", end);
    if (end < found.st_size) sections.push_back(description_of(end, found.st_size));
    return sections;
}

}  // namespace sy::runtime
