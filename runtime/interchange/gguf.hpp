#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "runtime/interchange/storage.hpp"

/// The container of llama.cpp, GGUF version 3, little endian: keys with values, then tensors.
namespace sy::runtime {

namespace gguf {

/// The index of an alternative is the number of its type in a file.
using Array = std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
                           std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
                           std::vector<float>, std::vector<bool>, std::vector<std::string>,
                           std::monostate,  ///< arrays of arrays, which nobody writes
                           std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;
using Value =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t, float,
                 bool, std::string, Array, std::uint64_t, std::int64_t, double>;

struct Key {
    std::string name;
    Value value;
    bool operator==(const Key&) const = default;
};

struct Tensor {
    std::string name;
    Shape shape;  ///< outermost first, as ours; files have them the other way round
    Storage storage = Storage::f32;
    index_t offset = 0;  ///< in the data section

    index_t bytes() const { return storage_bytes(storage, shape.num_elements()); }
    bool operator==(const Tensor&) const = default;
};

/// What a file says before its data.
struct Header {
    std::vector<Key> keys;
    std::vector<Tensor> tensors;  ///< in the order of their data
    index_t alignment = 32;

    /// Null where there is none.
    const Value* find(std::string_view name) const;
    bool operator==(const Header&) const = default;
};

/// Sets the offsets of tensors, each at the next multiple of the alignment. @return where the last one ends
index_t place_tensors(std::vector<Tensor>& tensors, index_t alignment);

/// What llama.cpp would not read, or would read as something else: names, ranks, sizes, types.
std::vector<std::string> header_problems(const Header& header);

/// As bytes, padded up to the data section. Offsets are as place_tensors sets them, whatever the header says.
/// @throws IoError with all header_problems
std::string write_header(const Header& header);

/// Gives bytes of a file from an offset on.
using ReadBytes = std::function<void(index_t offset, std::span<std::byte> bytes)>;

struct ParsedHeader {
    Header header;
    index_t data_begin = 0;
};
/// Strict: every count is bounded by the bytes that are there before anything is allocated, offsets are those of
/// place_tensors, and the data ends where the file does, but for padding.
/// @param name  what the file is called in messages
/// @throws IoError saying what is wrong, at which byte
ParsedHeader parse_header(const ReadBytes& read, index_t file_bytes, const std::string& name);

}  // namespace gguf

/// Writes a file from its first byte to its last; tensors are appended in the order of the header.
class GgufWriter {
  public:
    /// @throws IoError with all header_problems, or when there is such a file
    GgufWriter(const std::filesystem::path& path, gguf::Header header);
    ~GgufWriter();
    GgufWriter(const GgufWriter&) = delete;
    GgufWriter& operator=(const GgufWriter&) = delete;

    /// The next bytes of the tensor's data.
    /// @throws LogicError when it is not the turn of the tensor, or it has fewer bytes
    void append(std::string_view tensor, std::span<const std::byte> bytes);
    /// Flushes to disk and reads back. @throws LogicError when data is missing
    void finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

class GgufReader {
  public:
    /// @throws IoError when there is no such file or it is not what it should be
    explicit GgufReader(const std::filesystem::path& path);
    ~GgufReader();
    GgufReader(const GgufReader&) = delete;
    GgufReader& operator=(const GgufReader&) = delete;

    const gguf::Header& header() const;
    /// Values of a tensor from `first` on, both multiples of its storage's block.
    void read(const gguf::Tensor& tensor, index_t first, std::span<float> values) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace sy::runtime
