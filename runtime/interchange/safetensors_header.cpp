#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime/interchange/safetensors.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

/// Readers refuse longer headers.
constexpr index_t kMostHeaderBytes = 100'000'000;
constexpr index_t kLengthBytes = 8;
/// Their bytes can still be counted.
constexpr index_t kMostElements = index_t{1} << 60;

/// The name that a header has for it. @pre not q8_0
const char* dtype_name_of(Storage storage) {
    switch (storage) {
        case Storage::f32:
            return "F32";
        case Storage::f16:
            return "F16";
        case Storage::bf16:
            return "BF16";
        case Storage::q8_0:
            break;
    }
    throw LogicError("safetensors files have no q8_0");
}

std::optional<Storage> storage_of(const std::string& dtype) {
    for (const Storage storage : {Storage::f32, Storage::f16, Storage::bf16})
        if (dtype == dtype_name_of(storage)) return storage;
    return std::nullopt;
}

index_t size_of(const SafetensorsEntry& entry) {
    return storage_bytes(entry.storage, entry.shape.num_elements());
}

/// Members of all objects in a text that is JSON, doubled ones included: a parser keeps one of those.
index_t count_members(const std::string& text) {
    index_t count = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (quoted && text[i] == '\\') {
            ++i;
        } else if (text[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && text[i] == ':') {
            ++count;
        }
    }
    return count;
}

index_t count_members(const Json& value) {
    index_t count = 0;
    if (value.is_object()) {
        for (const Json::Member& member : value.as_object()) count += 1 + count_members(member.value);
    } else if (value.is_array()) {
        for (const Json& element : value.as_array()) count += count_members(element);
    }
    return count;
}

/// The entry that a member of the header describes. @throws IoError saying what is wrong with it
SafetensorsEntry read_entry(const Json::Member& member) {
    const Json& value = member.value;
    if (!value.is_object() || value.as_object().size() != 3)
        throw IoError("expected dtype, shape and data_offsets, and nothing else");
    SafetensorsEntry entry{.name = member.name, .shape = {}, .bytes = {}};
    const std::string& dtype = value.at("dtype").as_string();
    const std::optional<Storage> known = storage_of(dtype);
    if (!known) throw IoError(concat("its dtype is ", dtype, "; weights are read as F32, BF16 and F16"));
    entry.storage = *known;
    std::vector<index_t> dims;
    for (const Json& dim : value.at("shape").as_array()) dims.push_back(dim.as_whole());
    if (dims.size() > static_cast<std::size_t>(Shape::kMaxDims) ||
        std::ranges::any_of(dims, [](index_t dim) { return dim < 0; })) {
        throw IoError(concat("its shape is ", value.at("shape").text(), "; up to ", Shape::kMaxDims,
                             " dimensions are read, none negative"));
    }
    entry.shape = Shape(dims);
    if (entry.shape.num_elements() > kMostElements)
        throw IoError(concat("its shape is ", value.at("shape").text(), ", which no file can hold"));
    const Json::Array& offsets = value.at("data_offsets").as_array();
    if (offsets.size() != 2) throw IoError("data_offsets are a beginning and an end");
    entry.bytes = {offsets[0].as_whole(), offsets[1].as_whole()};
    if (entry.bytes.begin < 0 || entry.bytes.end < entry.bytes.begin ||
        entry.bytes.size() != size_of(entry)) {
        throw IoError(concat("data_offsets ", value.at("data_offsets").text(), " do not hold ",
                             entry.shape.to_string(), " of ", dtype, ", ", size_of(entry), " bytes"));
    }
    return entry;
}

/// Holes, overlaps and what is behind the last tensor.
void check_data(std::vector<SafetensorsEntry> entries, index_t data_bytes,
                std::vector<std::string>& problems) {
    std::ranges::sort(entries, {}, [](const SafetensorsEntry& entry) {
        return std::pair(entry.bytes.begin, entry.bytes.end);
    });
    index_t end = 0;
    for (const SafetensorsEntry& entry : entries) {
        if (entry.bytes.begin != end) {
            problems.push_back(concat(entry.name, " begins at byte ", entry.bytes.begin,
                                      " of the data, the tensor before it ends at ", end));
        }
        end = std::max(end, entry.bytes.end);
    }
    if (end != data_bytes)
        problems.push_back(concat("the tensors end at byte ", end, " of the data, which has ", data_bytes));
}

}  // namespace

void sort_for_safetensors(std::vector<SafetensorsEntry>& entries) {
    std::ranges::sort(entries, {}, [](const SafetensorsEntry& entry) {
        return std::pair(-storage_bytes(entry.storage, 1), entry.name);
    });
}

std::string safetensors_header(std::vector<SafetensorsEntry>& entries) {
    Json::Object header{{"__metadata__", Json::Object{{"format", "pt"}}}};
    index_t begin = 0;
    for (SafetensorsEntry& entry : entries) {
        entry.bytes = {begin, begin + size_of(entry)};
        begin = entry.bytes.end;
        header.push_back(
            {entry.name, Json::Object{{"dtype", dtype_name_of(entry.storage)},
                                      {"shape", json_array(entry.shape.dims())},
                                      {"data_offsets", Json::Array{entry.bytes.begin, entry.bytes.end}}}});
    }
    std::string text = Json(std::move(header)).text();
    text.resize(static_cast<std::size_t>(round_up(static_cast<index_t>(text.size()), kLengthBytes)), ' ');
    if (static_cast<index_t>(text.size()) > kMostHeaderBytes) {
        throw IoError(concat("a safetensors header of ", text.size(), " bytes is more than readers take, ",
                             kMostHeaderBytes, "; choose a smaller --shard-size"));
    }
    const std::uint64_t length = text.size();
    std::string begins(kLengthBytes, '\0');
    std::memcpy(begins.data(), &length, sizeof(length));
    return begins + text;
}

std::vector<SafetensorsEntry> parse_safetensors_header(const std::string& text, index_t file_bytes,
                                                       const std::string& path) {
    const auto fail = [&](const std::string& problem) { throw IoError(concat(path, ": ", problem)); };
    if (text.empty() || text.front() != '{') fail("its header does not begin with {");
    const Json header = [&] {
        try {
            return Json::parse(text);
        } catch (const IoError& error) {
            throw IoError(concat(path, ": its header is no JSON: ", error.what()));
        }
    }();
    if (!header.is_object()) fail("its header is no JSON object");
    if (count_members(text) != count_members(header)) fail("its header has a name twice");
    std::vector<SafetensorsEntry> entries;
    std::vector<std::string> problems;
    for (const Json::Member& member : header.as_object()) {
        if (member.name == "__metadata__") continue;
        try {
            entries.push_back(read_entry(member));
        } catch (const Error& error) {
            problems.push_back(concat(member.name, ": ", error.what()));
        }
    }
    const index_t data_bytes = file_bytes - kLengthBytes - static_cast<index_t>(text.size());
    if (problems.empty()) check_data(entries, data_bytes, problems);
    if (problems.empty()) return entries;
    std::string all;
    for (const std::string& problem : problems) all += "\n  " + problem;
    throw IoError(concat(path, " is no safetensors file of weights:", all));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path, detail::Links::followed) {
    std::uint64_t length = 0;
    if (file_.bytes() < kLengthBytes) {
        throw IoError(concat(path.string(), " has ", file_.bytes(), " bytes, a safetensors file at least ",
                             kLengthBytes));
    }
    file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > static_cast<std::uint64_t>(std::min(kMostHeaderBytes, file_.bytes() - kLengthBytes))) {
        throw IoError(concat(path.string(), ": its header has ", length,
                             " bytes by its first eight; at most ", kMostHeaderBytes,
                             " are read, and the file has ", file_.bytes()));
    }
    std::string text(length, '\0');
    file_.read(kLengthBytes, std::as_writable_bytes(std::span(text)));
    data_begin_ = kLengthBytes + static_cast<index_t>(length);
    entries_ = parse_safetensors_header(text, file_.bytes(), path.string());
}

}  // namespace sy::runtime
