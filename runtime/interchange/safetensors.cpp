#include "runtime/interchange/safetensors.hpp"

#include "runtime/interchange/foreign_model.hpp"

namespace sy::runtime {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries)
    : path_(path.string()), file_(path), entries_(std::move(entries)) {
    sort_for_safetensors(entries_);
    const std::string header = safetensors_header(entries_);
    file_.append(std::as_bytes(std::span(header)));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
    SY_REQUIRE(next_ < entries_.size(), path_, ": it has ", entries_.size(), " tensors");
    const SafetensorsEntry& entry = entries_[next_++];
    SY_REQUIRE(static_cast<index_t>(bytes.size()) == entry.bytes.size(), entry.name, ": ", bytes.size(),
               " bytes for ", entry.shape.to_string(), " in ", storage_name(entry.storage));
    file_.append(bytes);
}

index_t SafetensorsWriter::finish() {
    SY_REQUIRE(next_ == entries_.size(), path_, ": ", next_, " of ", entries_.size(), " tensors are written");
    return file_.finish().bytes;
}

void SafetensorsFile::read_rows(const SafetensorsEntry& entry, Range rows, std::span<float> values) const {
    const index_t row_bytes = foreign_size(entry.shape).cols * storage_bytes(entry.storage, 1);
    const index_t begin = data_begin_ + entry.bytes.begin + rows.begin * row_bytes;
    if (entry.storage == Storage::f32) {
        SY_REQUIRE(std::ssize(values) * index_t{sizeof(float)} == rows.size() * row_bytes, entry.name, ": ",
                   values.size(), " values for ", rows.size(), " rows");
        file_.read(begin, std::as_writable_bytes(values));
        return;
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(rows.size() * row_bytes));
    file_.read(begin, bytes);
    decode(entry.storage, bytes, values);
}

}  // namespace sy::runtime
