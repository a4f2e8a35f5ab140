#include "runtime/interchange/hf_weights.hpp"

#include <set>

#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr index_t kMostIndexBytes = 100'000'000;
constexpr std::size_t kMostFiles = 1000;  ///< each is kept open

bool is_plain_name(const std::string& name) {
    return name.ends_with(".safetensors") && name.find('/') == std::string::npos && name[0] != '.';
}

/// The file of each tensor, from an index. @throws IoError when it is none
std::map<std::string, std::string> read_index(const fs::path& path) {
    const Json index = Json::parse(detail::read_regular_text(path, kMostIndexBytes, detail::Links::followed));
    std::map<std::string, std::string> files;
    for (const Json::Member& member : index.at("weight_map").as_object()) {
        const std::string& file = member.value.as_string();
        if (!is_plain_name(file)) {
            throw IoError(concat(path.string(), ": ", member.name, " is in '", file,
                                 "', which is no plain name of a safetensors file"));
        }
        files[member.name] = file;
    }
    return files;
}

}  // namespace

HfWeights::HfWeights(const fs::path& folder) {
    const fs::path index = folder / kIndex;
    // A link counts wherever it ends: a cache without the contents of an index is no folder without one.
    if (!fs::exists(fs::symlink_status(index))) {
        if (!fs::exists(fs::symlink_status(folder / kSingle))) {
            throw IoError(concat(folder.string(), " has neither ", kSingle, " nor ", kIndex,
                                 "; weights in other formats are not read"));
        }
        open(folder / kSingle);
        return;
    }
    const std::map<std::string, std::string> weight_map = read_index(index);
    std::set<std::string> names;
    for (const auto& [tensor, file] : weight_map) names.insert(file);
    if (names.size() > kMostFiles)
        throw IoError(
            concat(index.string(), " names ", names.size(), " files; up to ", kMostFiles, " are read"));
    for (const std::string& name : names) open(folder / name);
    check_index(index, weight_map);
}

void HfWeights::open(const fs::path& path) {
    const SafetensorsFile& file = *files_.emplace_back(std::make_unique<SafetensorsFile>(path));
    for (const SafetensorsEntry& entry : file.entries()) {
        if (!places_.try_emplace(entry.name, Place{&file, &entry}).second) {
            throw IoError(
                concat(entry.name, " is in ", file_of_.at(entry.name), " and in ", path.filename().string()));
        }
        file_of_[entry.name] = path.filename().string();
    }
}

void HfWeights::check_index(const fs::path& path, const std::map<std::string, std::string>& weight_map) {
    std::string problems;
    for (const auto& [tensor, file] : weight_map) {
        const auto found = file_of_.find(tensor);
        if (found == file_of_.end() || found->second != file)
            problems += concat("\n  ", tensor, " is not in ", file, " as the index says");
    }
    for (const auto& [tensor, file] : file_of_) {
        if (!weight_map.contains(tensor))
            problems += concat("\n  ", tensor, " of ", file, " is not in the index");
    }
    if (!problems.empty()) throw IoError(concat(path.string(), " does not fit its files:", problems));
}

std::map<std::string, Shape> HfWeights::shapes() const {
    std::map<std::string, Shape> result;
    for (const auto& [name, place] : places_) result[name] = place.entry->shape;
    return result;
}

void HfWeights::read_rows(const std::string& name, Range rows, std::span<float> values) const {
    const Place& place = places_.at(name);
    place.file->read_rows(*place.entry, rows, values);
    if (!all_finite(values))
        throw IoError(concat(name, " in ", file_of_.at(name), " has a value that is not finite"));
}

}  // namespace sy::runtime
