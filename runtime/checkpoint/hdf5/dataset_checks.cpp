// Whether a dataset of a file that may come from someone else can be read without reading anything else.
#include <algorithm>
#include <set>

#include "runtime/checkpoint/hdf5/file.hpp"
#include "runtime/checkpoint/hdf5/handle.hpp"

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

/// One mapping of a virtual dataset, as text: what it shows where. Selections that are no block give another text.
std::string mapping_text(hid_t space, const std::string& file, const std::string& dataset) {
    const auto dims = static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space)));
    std::vector<hsize_t> start(dims);
    std::vector<hsize_t> end(dims);
    if (dims == 0 || H5Sget_select_bounds(space, start.data(), end.data()) < 0) return "no block";
    std::string text = concat(file, ":", dataset, " at");
    hssize_t points = 1;
    for (std::size_t dim = 0; dim < dims; ++dim) {
        text += concat(" ", start[dim], "-", end[dim]);
        points *= static_cast<hssize_t>(end[dim] - start[dim] + 1);
    }
    return points == H5Sget_select_npoints(space) ? text : "no block";
}

std::string mapping_text(const VirtualPart& part) {
    std::string text = concat(part.file, ":", part.dataset, " at");
    for (std::size_t dim = 0; dim < part.region.start.size(); ++dim) {
        text += concat(" ", part.region.start[dim], "-", part.region.start[dim] + part.region.count[dim] - 1);
    }
    return text;
}

/// A name that HDF5 gives: with a null buffer it tells the length.
template <class Call>
std::string name_from(Call call, const std::string& path, const std::string& name) {
    const auto length = static_cast<std::size_t>(check_hdf5(call(nullptr, 0), "H5Pget_virtual", path, name));
    std::string text(length + 1, '\0');
    check_hdf5(call(text.data(), text.size()), "H5Pget_virtual", path, name);
    text.resize(length);
    return text;
}

/// What a walk over a file's links collects.
struct Walk {
    const std::set<std::string>& expected;
    std::vector<std::string> others;
};

herr_t visit_link(hid_t, const char* name, const H5L_info_t* link, void* data) noexcept {
    auto& walk = *static_cast<Walk*>(data);
    const std::string path = concat("/", name);
    if (link->type == H5L_TYPE_HARD) {
        const auto inside = walk.expected.lower_bound(path + "/");
        const bool on_the_way = inside != walk.expected.end() && inside->starts_with(path + "/");
        if (on_the_way || walk.expected.contains(path)) return 0;
    }
    walk.others.push_back(path);
    return 0;
}

}  // namespace

std::vector<std::string> Hdf5File::other_names(const std::set<std::string>& expected) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    Walk walk{expected, {}};
    check_hdf5(H5Lvisit(handle_, H5_INDEX_NAME, H5_ITER_INC, visit_link, &walk), "H5Lvisit", path_, "");
    return std::move(walk.others);
}

void Hdf5File::check_virtual(const std::string& name, std::span<const index_t> dims,
                             std::span<const VirtualPart> parts) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    const auto refuse = [&](const char* what) { throw IoError(concat(path_, ":", name, " ", what)); };
    check_links(handle_, path_, name);
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle creation(check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", path_, name),
                          H5Pclose);
    if (H5Pget_layout(creation.get()) != H5D_VIRTUAL) refuse("does not show the shards: it is not virtual");
    const Handle type(check_hdf5(H5Dget_type(dataset.get()), "H5Dget_type", path_, name), H5Tclose);
    if (H5Tequal(type.get(), H5T_IEEE_F32LE) <= 0) refuse("is not little-endian float32");
    const Handle space(check_hdf5(H5Dget_space(dataset.get()), "H5Dget_space", path_, name), H5Sclose);
    std::vector<hsize_t> found(
        static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
    H5Sget_simple_extent_dims(space.get(), found.data(), nullptr);
    if (!std::equal(found.begin(), found.end(), dims.begin(), dims.end(),
                    [](hsize_t a, index_t b) { return static_cast<index_t>(a) == b; }))
        refuse("does not have the shape that the manifest says");
    std::size_t count = 0;
    check_hdf5(H5Pget_virtual_count(creation.get(), &count), "H5Pget_virtual_count", path_, name);
    if (count != parts.size()) refuse("does not show each piece once");
    std::multiset<std::string> expected;
    for (const VirtualPart& part : parts) expected.insert(mapping_text(part));
    for (std::size_t i = 0; i < count; ++i) {
        const std::string file = name_from(
            [&](char* text, std::size_t size) {
                return H5Pget_virtual_filename(creation.get(), i, text, size);
            },
            path_, name);
        const std::string source = name_from(
            [&](char* text, std::size_t size) {
                return H5Pget_virtual_dsetname(creation.get(), i, text, size);
            },
            path_, name);
        const Handle target(
            check_hdf5(H5Pget_virtual_vspace(creation.get(), i), "H5Pget_virtual_vspace", path_, name),
            H5Sclose);
        const Handle from(
            check_hdf5(H5Pget_virtual_srcspace(creation.get(), i), "H5Pget_virtual_srcspace", path_, name),
            H5Sclose);
        const auto shown = expected.find(mapping_text(target.get(), file, source));
        if (shown == expected.end() || H5Sget_select_type(from.get()) != H5S_SEL_ALL)
            refuse("shows other values than the pieces of the manifest");
        expected.erase(shown);
    }
}

void Hdf5File::check_plain(const std::string& name, ElementType expected) const {
    const std::lock_guard lock(detail::hdf5_mutex());
    check_links(handle_, path_, name);
    const Handle dataset(check_hdf5(H5Dopen2(handle_, name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                         H5Dclose);
    const Handle creation(check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", path_, name),
                          H5Pclose);
    const Handle type(check_hdf5(H5Dget_type(dataset.get()), "H5Dget_type", path_, name), H5Tclose);
    const auto expect = [&](bool holds, const char* what) {
        if (!holds) throw IoError(concat(path_, ":", name, " ", what, " was expected"));
    };
    expect(H5Pget_layout(creation.get()) == H5D_CONTIGUOUS,
           "is chunked, compact or virtual; contiguous values");
    expect(H5Pget_external_count(creation.get()) == 0,
           "keeps its values in another file; values in this file");
    expect(H5Pget_nfilters(creation.get()) == 0, "has filters; values as they are");
    expect(H5Tequal(type.get(), detail::file_type(expected)) > 0,
           expected == ElementType::f32   ? "has another type; little-endian float32"
           : expected == ElementType::i32 ? "has another type; little-endian int32"
                                          : "has another type; uint8");
}

}  // namespace sy::runtime
