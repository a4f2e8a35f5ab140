// Whether a dataset of a file that may come from someone else can be read without reading anything else.
#include "runtime/checkpoint/hdf5_file.hpp"
#include "runtime/checkpoint/hdf5_handle.hpp"

namespace sy::runtime {
namespace {

using detail::check_hdf5;
using Handle = detail::Hdf5Handle;

/// Soft and external links may lead into other files, or around in circles.
void check_links(hid_t file, const std::string& path, const std::string& name) {
    for (std::size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
        const std::string part = name.substr(0, end);
        H5L_info_t link = {};
        check_hdf5(H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT), "H5Lget_info", path, part);
        if (link.type != H5L_TYPE_HARD)
            throw IoError(
                concat(path, ":", part, " is a soft or external link, which checkpoints do not have"));
        if (end == std::string::npos) return;
    }
}

}  // namespace

void Hdf5File::check_plain(const std::string& name) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    check_links(handle_, path_, name);
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle creation(check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", path_, name),
                          H5Pclose);
    const Handle type(check_hdf5(H5Dget_type(dataset.get()), "H5Dget_type", path_, name), H5Tclose);
    const auto expect = [&](bool holds, const char* what) {
        if (!holds) throw IoError(concat(path_, ":", name, " ", what, " was expected of a checkpoint"));
    };
    expect(H5Pget_layout(creation.get()) == H5D_CONTIGUOUS,
           "is chunked, compact or virtual; contiguous values");
    expect(H5Pget_external_count(creation.get()) == 0,
           "keeps its values in another file; values in this file");
    expect(H5Pget_nfilters(creation.get()) == 0, "has filters; values as they are");
    expect(H5Tequal(type.get(), H5T_IEEE_F32LE) > 0, "has another type; little-endian float32");
}

}  // namespace sy::runtime
