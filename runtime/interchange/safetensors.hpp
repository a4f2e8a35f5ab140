#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/interchange/storage.hpp"

/// Files of tensors as Hugging Face's safetensors writes them: eight bytes with the length of a JSON header, the header,
/// and the data without holes.
/// @par Source  https://github.com/huggingface/safetensors, version 0.8
namespace sy::runtime {

/// A tensor in the header.
struct SafetensorsEntry {
    std::string name;
    Storage storage = Storage::f32;  ///< not q8_0
    Shape shape;
    Range bytes;  ///< from the end of the header on

    bool operator==(const SafetensorsEntry&) const = default;
};

/// The header of the entries in their order, whose bytes it sets; with the eight bytes before it.
std::string safetensors_header(std::vector<SafetensorsEntry>& entries);

/// The order of the official writer: largest elements first, then by name; so every tensor is aligned.
void sort_for_safetensors(std::vector<SafetensorsEntry>& entries);

/// Reads a header. @param file_bytes  size of the file
/// @throws IoError with everything wrong: the lengths, a duplicate or unknown key, a dtype that weights do not have,
///         sizes that are not shape times dtype, holes and overlaps
std::vector<SafetensorsEntry> parse_safetensors_header(const std::string& text, index_t file_bytes,
                                                       const std::string& path);

/// A file that is written from its first byte to its last, tensor by tensor in the order of entries().
class SafetensorsWriter {
  public:
    /// @throws IoError when the file exists
    SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries);
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }
    /// The values of the next entry, as it stores them.
    void write(std::span<const std::byte> bytes);
    /// Flushes to disk and reads back. @return bytes of the whole file
    index_t finish();

  private:
    std::string path_;
    detail::NewFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::size_t next_ = 0;
};

/// A file whose header has been checked.
class SafetensorsFile {
  public:
    /// @throws IoError as parse_safetensors_header
    explicit SafetensorsFile(const std::filesystem::path& path);
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }
    /// Rows of a tensor as a matrix whose columns are its last dimension.
    void read_rows(const SafetensorsEntry& entry, Range rows, std::span<float> values) const;

  private:
    detail::RegularFile file_;
    index_t data_begin_ = 0;
    std::vector<SafetensorsEntry> entries_;
};

}  // namespace sy::runtime
