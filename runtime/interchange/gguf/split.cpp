#include "runtime/interchange/gguf/split.hpp"

#include <set>

#include "runtime/checkpoint/files.hpp"

namespace sy::runtime::gguf {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNumber = "split.no";
constexpr const char* kCount = "split.count";
constexpr const char* kTensors = "split.tensors.count";
constexpr index_t kMostFiles = 65535;

/// A whole number of whatever type. @throws IoError when it is there and none
index_t number_of(const Header& header, const char* name, index_t otherwise) {
    const Value* const value = header.find(name);
    if (value == nullptr) return otherwise;
    if (const auto* const number = std::get_if<std::uint16_t>(value)) return *number;
    if (const auto* const number = std::get_if<std::int32_t>(value)) return *number;
    if (const auto* const number = std::get_if<std::uint32_t>(value)) return *number;
    throw IoError(concat("GGUF: ", name, " is no whole number"));
}

bool is_of_split(const Key& key) {
    return key.name == kNumber || key.name == kCount || key.name == kTensors;
}

std::string ending(index_t file_idx, index_t num_files) {
    return detail::numbered("-", file_idx + 1, 5, "") + detail::numbered("-of-", num_files, 5, ".gguf");
}

/// "PREFIX.gguf" of the first file's name. @throws IoError when it is none
fs::path whole_name(const fs::path& first, index_t num_files) {
    const std::string name = first.string();
    const std::string end = ending(0, num_files);
    if (!name.ends_with(end))
        throw IoError(concat(name, " is the first of ", num_files,
                             " files by its keys; then its name ends with ", end,
                             ", and the others are looked for beside it"));
    return name.substr(0, name.size() - end.size()) + ".gguf";
}

}  // namespace

std::vector<std::vector<std::size_t>> plan_files(const std::vector<Tensor>& tensors, index_t bytes) {
    std::vector<std::vector<std::size_t>> files;
    index_t used = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const index_t size = tensors[i].bytes();
        if (files.empty() || (used > 0 && used + size > bytes)) {
            files.emplace_back();
            used = 0;
        }
        files.back().push_back(i);
        used += size;
    }
    return files;
}

fs::path split_name(const fs::path& file, index_t file_idx, index_t num_files) {
    return file.parent_path() / (file.stem().string() + ending(file_idx, num_files));
}

std::vector<Header> split_headers(const Header& whole, const std::vector<std::vector<std::size_t>>& files) {
    if (std::ssize(files) > kMostFiles)
        throw ConfigError(concat("--shard-size: ", files.size(), " files, and llama.cpp counts to ",
                                 kMostFiles, "; give a larger size"));
    std::vector<Header> headers;
    for (const std::vector<std::size_t>& file : files) {
        Header& header = headers.emplace_back();
        header.alignment = whole.alignment;
        if (headers.size() == 1) header.keys = whole.keys;
        header.keys.push_back({kNumber, static_cast<std::uint16_t>(headers.size() - 1)});
        header.keys.push_back({kCount, static_cast<std::uint16_t>(files.size())});
        header.keys.push_back({kTensors, narrow<std::int32_t>(std::ssize(whole.tensors))});
        for (const std::size_t tensor : file) header.tensors.push_back(whole.tensors[tensor]);
        place_tensors(header.tensors, header.alignment);
    }
    return headers;
}

SplitReader::SplitReader(const fs::path& path) {
    files_.push_back(std::make_unique<GgufReader>(path));
    const Header& first = files_[0]->header();
    const index_t num_files = number_of(first, kCount, 1);
    const index_t num_tensors = number_of(first, kTensors, std::ssize(first.tensors));
    if (number_of(first, kNumber, 0) != 0)
        throw IoError(concat(path.string(), " is file ", number_of(first, kNumber, 0) + 1, " of ", num_files,
                             "; give the first one"));
    if (num_files > 1) {
        const fs::path whole = whole_name(path, num_files);
        for (index_t file = 1; file < num_files; ++file) {
            const fs::path name = split_name(whole, file, num_files);
            files_.push_back(std::make_unique<GgufReader>(name));
            const Header& next = files_.back()->header();
            if (number_of(next, kNumber, -1) != file || number_of(next, kCount, -1) != num_files)
                throw IoError(
                    concat(name.string(), " does not say that it is file ", file + 1, " of ", num_files));
        }
    }
    for (const Key& key : first.keys)
        if (!is_of_split(key)) header_.keys.push_back(key);
    std::set<std::string_view> names;
    for (const std::unique_ptr<GgufReader>& file : files_) {
        for (const Tensor& tensor : file->header().tensors) {
            if (!names.insert(tensor.name).second)
                throw IoError(concat(path.string(), ": ", tensor.name, " is in two of its files"));
            header_.tensors.push_back(tensor);
            places_.push_back({file.get(), &tensor});
        }
    }
    if (std::ssize(header_.tensors) != num_tensors)
        throw IoError(concat(path.string(), ": its ", num_files, " files have ", header_.tensors.size(),
                             " tensors, and ", kTensors, " = ", num_tensors));
}

void SplitReader::read(const Tensor& tensor, index_t first, std::span<float> values) const {
    const auto place = static_cast<std::size_t>(&tensor - header_.tensors.data());
    SY_REQUIRE(place < places_.size(), "GGUF: ", tensor.name, " is no tensor of this header");
    places_[place].file->read(*places_[place].tensor, first, values);
}

}  // namespace sy::runtime::gguf
