#include "runtime/train/routing_trace_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <type_traits>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/regular_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using model::RoutingRecord;

std::string group_of(index_t micro_step, index_t layer) {
    return concat("/micro_step_", micro_step, "/layer_", layer);
}

/// An array of a mixture, as the file holds it.
template <class Byte>
struct Array {
    const char* name;
    ElementType type;
    std::span<Byte> bytes;
};

template <class Byte, class Record>
std::vector<Array<Byte>> arrays_of(Record& record) {
    const auto bytes = [](auto& values) {
        if constexpr (std::is_const_v<Byte>)
            return std::as_bytes(std::span(values));
        else
            return std::as_writable_bytes(std::span(values));
    };
    return {{"expert", ElementType::i32, bytes(record.expert)},
            {"weight", ElementType::f32, bytes(record.weight)},
            {"kept", ElementType::u8, bytes(record.kept)}};
}

/// What stands behind the last byte of HDF5: a word that no other file ends with, and the checksum of all before it. HDF5
/// ignores it. Without it HDF5 itself would read what is damaged, which may crash it.
struct Trailer {
    std::array<char, 8> word{'S', 'Y', 'R', 'O', 'U', 'T', 'E', '1'};
    std::uint64_t checksum = 0;

    bool operator==(const Trailer&) const = default;
};
static_assert(std::has_unique_object_representations_v<Trailer>, "stands in the file as bytes");

/// @throws IoError when the file has no trailer, or another one than its bytes give
void check_trailer(const fs::path& path) {
    const detail::RegularFile file(path);
    Trailer found;
    const auto trailer_bytes = static_cast<index_t>(sizeof(Trailer));
    const index_t content_bytes = file.bytes() - trailer_bytes;
    if (content_bytes >= 0) file.read(content_bytes, std::as_writable_bytes(std::span(&found, 1)));
    if (content_bytes < 0 || found.word != Trailer().word)
        throw IoError(
            concat(path.string(),
                   " is no routing trace, as telemetry.routing_trace writes it, or its end is missing"));
    std::vector<std::byte> content(static_cast<std::size_t>(content_bytes));
    file.read(0, content);
    if (detail::block_checksum(content, 0) != found.checksum)
        throw IoError(path.string() + " is damaged: its bytes do not have the checksum at its end");
}

/// The layers of the first micro-step; the others have the same.
std::vector<index_t> layers_of(const RoutingTrace& trace) {
    std::vector<index_t> layers;
    for (const RoutingRecord& record : trace.mixtures) {
        if (record.micro_step == 0) layers.push_back(record.layer);
    }
    return layers;
}

void check_values(const RoutingRecord& record, index_t experts, const std::string& place) {
    const auto require = [&](bool good, const char* what) {
        if (!good) throw IoError(concat(place, " ", what));
    };
    require(std::ranges::all_of(record.expert, [&](std::int32_t e) { return e >= -1 && e < experts; }),
            "has a choice that is no expert");
    require(std::ranges::all_of(record.weight, [](float w) { return std::isfinite(w); }),
            "has a weight that is not finite");
    require(std::ranges::all_of(record.kept, [](std::uint8_t kept) { return kept <= 1; }),
            "has a choice that is neither kept nor dropped");
    for (std::size_t i = 0; i < record.kept.size(); ++i)
        require(record.kept[i] == 0 || record.expert[i] >= 0, "keeps a choice without an expert");
}

RoutingRecord read_mixture(const Hdf5File& file, const fs::path& path, index_t micro_step, index_t layer) {
    const std::string group = group_of(micro_step, layer);
    const std::vector<index_t> dims = file.dims_of(group + "/expert", ElementType::i32);
    if (dims.size() != 2 || dims[1] < 1)
        throw IoError(concat(path.string(), ":", group, " has no [tokens, choices] of experts"));
    RoutingRecord record{micro_step, layer, dims[0], dims[1], {}, {}, {}};
    const auto count = static_cast<std::size_t>(dims[0] * dims[1]);
    record.expert.resize(count);
    record.weight.resize(count);
    record.kept.resize(count);
    for (const auto& array : arrays_of<std::byte>(record)) {
        const std::string name = concat(group, "/", array.name);
        if (file.dims_of(name, array.type) != dims)
            throw IoError(concat(path.string(), ":", name, " has another shape than the experts"));
        file.read_all(name, array.type, array.bytes);
    }
    return record;
}

/// The one number of an attribute of the file. @throws IoError when it is not from `least` to `most`
index_t number_in(const Hdf5File& file, const fs::path& path, const char* key, index_t least, index_t most) {
    const std::vector<index_t> values = file.attribute("/", key);
    if (values.size() != 1 || values[0] < least || values[0] > most)
        throw IoError(concat(path.string(), ":@", key, " is not one number from ", least, " to ", most));
    return values[0];
}

}  // namespace

void write_routing_trace(const fs::path& path, const RoutingTrace& trace) {
    const std::vector<index_t> layers = layers_of(trace);
    SY_REQUIRE(!layers.empty() && trace.mixtures.size() % layers.size() == 0,
               "routing trace: ", trace.mixtures.size(), " mixtures with ", layers.size(),
               " in the first micro-step");
    const auto micro_steps = static_cast<index_t>(trace.mixtures.size() / layers.size());
    FileLayout layout(path.string());
    for (const auto& [key, value] : {std::pair{"step", trace.step},
                                     {"experts", trace.experts},
                                     {"hidden", trace.hidden},
                                     {"micro_steps", micro_steps}})
        layout.add_attribute(key, std::span(&value, 1));
    layout.add_attribute("layers", layers);
    std::map<std::string, std::span<const std::byte>> values;
    for (const RoutingRecord& record : trace.mixtures) {
        const std::string group = group_of(record.micro_step, record.layer);
        const index_t dims[] = {record.num_tokens, record.top_k};
        for (const auto& array : arrays_of<const std::byte>(record)) {
            layout.add_dataset(concat(group, "/", array.name), dims, {}, array.type);
            values[concat(group, "/", array.name)] = array.bytes;
        }
    }
    fs::create_directories(path.parent_path());
    const fs::path unfinished = path.string() + ".unfinished";
    fs::remove(unfinished);  // left by a kill
    std::vector<std::byte> content;
    for (const FileSection& section : layout.finish()) {
        const auto bytes = section.dataset.empty() ? section.description : values.at(section.dataset);
        content.insert(content.end(), bytes.begin(), bytes.end());
    }
    Trailer trailer;
    trailer.checksum = detail::block_checksum(content, 0);
    detail::NewFile file(unfinished);
    file.append(content);
    file.append(std::as_bytes(std::span(&trailer, 1)));
    file.finish();
    fs::rename(unfinished, path);
    detail::flush_to_disk(path.parent_path());
}

RoutingTrace read_routing_trace(const fs::path& path) {
    check_trailer(path);
    const Hdf5File file(path.string());
    RoutingTrace trace;
    constexpr index_t kMost = 1'000'000'000'000;
    trace.step = number_in(file, path, "step", 1, kMost);
    trace.experts = number_in(file, path, "experts", 1, 1'000'000);
    trace.hidden = number_in(file, path, "hidden", 1, 10'000'000);
    const index_t micro_steps = number_in(file, path, "micro_steps", 1, kMost);
    const std::vector<index_t> layers = file.attribute("/", "layers");
    if (layers.empty()) throw IoError(path.string() + ":@layers names no layer");
    for (index_t micro_step = 0; micro_step < micro_steps; ++micro_step) {
        for (const index_t layer : layers) {
            trace.mixtures.push_back(read_mixture(file, path, micro_step, layer));
            check_values(trace.mixtures.back(), trace.experts,
                         concat(path.string(), ":", group_of(micro_step, layer)));
        }
    }
    return trace;
}

}  // namespace sy::runtime
