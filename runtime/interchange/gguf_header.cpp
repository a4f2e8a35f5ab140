// The text of a GGUF file before its data, both ways.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>

#include "runtime/interchange/gguf.hpp"

namespace sy::runtime::gguf {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kMaxNameBytes = 63;  ///< of a tensor: ggml keeps 64 with the end
constexpr std::size_t kMaxKeyBytes = 65535;
constexpr index_t kMaxAlignment = index_t{1} << 20;
constexpr const char* kAlignmentKey = "general.alignment";

struct StorageType {
    Storage storage;
    std::uint32_t number;
};
constexpr StorageType kTypes[] = {
    {Storage::f32, 0}, {Storage::f16, 1}, {Storage::q8_0, 8}, {Storage::bf16, 30}};

std::uint32_t number_of(Storage storage) {
    return std::ranges::find(kTypes, storage, &StorageType::storage)->number;
}

// --- writing

template <class T>
void put(std::string& bytes, const T& value) {
    static_assert(std::is_arithmetic_v<T>);
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
}

void put_value(std::string& bytes, bool value) {
    put(bytes, static_cast<std::uint8_t>(value));
}
void put_value(std::string& bytes, const std::string& text) {
    put(bytes, static_cast<std::uint64_t>(text.size()));
    bytes += text;
}
template <class T>
requires std::is_arithmetic_v<T>
void put_value(std::string& bytes, T value) {
    put(bytes, value);
}
void put_value(std::string& bytes, const Array& array) {
    put(bytes, static_cast<std::uint32_t>(array.index()));
    std::visit(
        [&](const auto& values) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(values)>, std::monostate>) {
                put(bytes, static_cast<std::uint64_t>(values.size()));
                for (const auto& value : values) put_value(bytes, value);
            }
        },
        array);
}

// --- reading

/// Reads a file's beginning in blocks, and never past its end.
class Cursor {
  public:
    Cursor(const ReadBytes& read, index_t file_bytes, const std::string& name)
        : read_(read), file_bytes_(file_bytes), name_(name) {}

    index_t position() const { return block_begin_ + static_cast<index_t>(next_); }
    index_t left() const { return file_bytes_ - position(); }

    [[noreturn]] void fail(const std::string& problem) const {
        throw IoError(concat(name_, ": at byte ", position(), ": ", problem));
    }

    template <class T>
    T number() {
        static_assert(std::is_arithmetic_v<T>);
        T value;
        take(std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }

    /// A count of things that take at least `bytes_each` bytes of the file.
    index_t count(const char* what, index_t bytes_each) {
        const auto value = number<std::uint64_t>();
        if (value > static_cast<std::uint64_t>(left() / bytes_each))
            fail(concat(value, " ", what, " do not fit the ", left(), " bytes that follow"));
        return static_cast<index_t>(value);
    }

    std::string text() {
        std::string value(static_cast<std::size_t>(count("bytes of text", 1)), '\0');
        take(std::as_writable_bytes(std::span(value)));
        return value;
    }

  private:
    void take(std::span<std::byte> bytes) {
        if (static_cast<index_t>(bytes.size()) > left()) fail("the file ends within its header");
        while (!bytes.empty()) {
            if (next_ == block_.size()) refill();
            const std::size_t size = std::min(bytes.size(), block_.size() - next_);
            std::memcpy(bytes.data(), block_.data() + next_, size);
            next_ += size;
            bytes = bytes.subspan(size);
        }
    }
    void refill() {
        constexpr index_t kBlock = index_t{1} << 16;
        const index_t begin = position();
        std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, file_bytes_ - begin)));
        read_(begin, block);
        block_ = std::move(block);
        block_begin_ = begin;
        next_ = 0;
    }

    const ReadBytes& read_;
    index_t file_bytes_;
    const std::string& name_;
    std::vector<std::byte> block_;
    index_t block_begin_ = 0;
    std::size_t next_ = 0;
};

template <class T>
T take_value(Cursor& cursor) {
    if constexpr (std::is_same_v<T, std::string>) {
        return cursor.text();
    } else if constexpr (std::is_same_v<T, bool>) {
        const auto value = cursor.number<std::uint8_t>();
        if (value > 1) cursor.fail(concat("a bool is ", int{value}, ", not 0 or 1"));
        return value == 1;
    } else {
        return cursor.number<T>();
    }
}

/// Bytes that a value of a type takes in a file, at least.
template <class T>
constexpr index_t kLeastBytes = std::is_same_v<T, std::string> ? 8 : sizeof(T);

template <std::size_t I = 0>
Array take_array_of(Cursor& cursor, std::uint32_t type) {
    if constexpr (I == std::variant_size_v<Array>) {
        cursor.fail(concat("an array's elements have the unknown type ", type));
    } else {
        if (I != type) return take_array_of<I + 1>(cursor, type);
        using Values = std::variant_alternative_t<I, Array>;
        if constexpr (std::is_same_v<Values, std::monostate>) {
            cursor.fail("an array of arrays");
        } else {
            using T = typename Values::value_type;
            Values values;
            const index_t size = cursor.count("elements of an array", kLeastBytes<T>);
            values.reserve(static_cast<std::size_t>(size));
            for (index_t i = 0; i < size; ++i) values.push_back(take_value<T>(cursor));
            return values;
        }
    }
}

template <std::size_t I = 0>
Value take_value_of(Cursor& cursor, std::uint32_t type) {
    if constexpr (I == std::variant_size_v<Value>) {
        cursor.fail(concat("a value has the unknown type ", type));
    } else {
        if (I != type) return take_value_of<I + 1>(cursor, type);
        using T = std::variant_alternative_t<I, Value>;
        if constexpr (std::is_same_v<T, Array>) {
            return take_array_of(cursor, cursor.number<std::uint32_t>());
        } else {
            return take_value<T>(cursor);
        }
    }
}

Tensor take_tensor(Cursor& cursor) {
    Tensor tensor;
    tensor.name = cursor.text();
    const auto rank = cursor.number<std::uint32_t>();
    if (rank < 1 || rank > Shape::kMaxDims)
        cursor.fail(
            concat("tensor '", tensor.name, "' has ", rank, " dimensions, expected 1 to ", Shape::kMaxDims));
    std::vector<index_t> dims(rank);
    index_t elements = 1;
    for (std::size_t i = rank; i-- > 0;) {
        const auto dim = cursor.number<std::uint64_t>();
        // No tensor has more elements than a file has bits, whatever their type.
        const auto limit = static_cast<std::uint64_t>(std::numeric_limits<index_t>::max() / 8 / elements);
        if (dim == 0 || dim > limit)
            cursor.fail(concat("tensor '", tensor.name, "' has a dimension of ", dim));
        dims[i] = static_cast<index_t>(dim);
        elements *= dims[i];
    }
    tensor.shape = Shape(dims);
    const auto type = cursor.number<std::uint32_t>();
    const auto* const found = std::ranges::find(kTypes, type, &StorageType::number);
    if (found == std::end(kTypes))
        cursor.fail(concat("tensor '", tensor.name, "' has type ", type,
                           "; f32 (0), f16 (1), q8_0 (8) and bf16 (30) can be read"));
    tensor.storage = found->storage;
    if (dims.back() % storage_block(tensor.storage) != 0)
        cursor.fail(concat("tensor '", tensor.name, "' ", tensor.shape.to_string(), ": rows of ",
                           storage_name(tensor.storage), " are multiples of ",
                           storage_block(tensor.storage)));
    const auto offset = cursor.number<std::uint64_t>();
    if (offset > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max()))
        cursor.fail(concat("tensor '", tensor.name, "' begins at byte ", offset));
    tensor.offset = static_cast<index_t>(offset);
    return tensor;
}

bool is_alignment(index_t value) {
    return value >= 8 && value <= kMaxAlignment && std::has_single_bit(static_cast<std::uint64_t>(value));
}

/// The names that are there twice.
template <class Named>
void check_unique(const std::vector<Named>& all, const char* what, std::vector<std::string>& problems) {
    std::set<std::string_view> names;
    for (const Named& named : all)
        if (!names.insert(named.name).second)
            problems.push_back(concat("the ", what, " '", named.name, "' is there twice"));
}

void check_alignment(const Header& header, std::vector<std::string>& problems) {
    if (!is_alignment(header.alignment))
        problems.push_back(concat("an alignment of ", header.alignment,
                                  " bytes; expected a power of two from 8 to ", kMaxAlignment));
    const Value* const key = header.find(kAlignmentKey);
    const auto* const number = key != nullptr ? std::get_if<std::uint32_t>(key) : nullptr;
    if (key != nullptr && (number == nullptr || *number != header.alignment))
        problems.push_back(concat(kAlignmentKey, " is not the alignment as an unsigned number of 32 bits"));
    if (key == nullptr && header.alignment != Header{}.alignment)
        problems.push_back(concat("an alignment of ", header.alignment, " bytes without ", kAlignmentKey));
}

/// Sizes are checked before they are added.
void check_extent(const std::vector<Tensor>& tensors, index_t alignment, index_t bytes,
                  const std::string& name) {
    index_t end = 0;
    for (const Tensor& tensor : tensors) {
        const index_t begin = round_up(end, alignment);
        if (tensor.offset != begin)
            throw IoError(concat(name, ": tensor '", tensor.name, "' begins at byte ", tensor.offset,
                                 " of the data, expected ", begin, ": tensors lie in order, without holes"));
        if (begin > bytes || tensor.bytes() > bytes - begin)
            throw IoError(concat(name, ": tensor '", tensor.name, "' of ", tensor.bytes(), " bytes at ",
                                 begin, " does not fit the ", bytes, " bytes of data"));
        end = begin + tensor.bytes();
    }
    if (bytes > round_up(end, alignment))
        throw IoError(concat(name, ": ", bytes - end, " bytes behind the last tensor belong to none"));
}

}  // namespace

const Value* Header::find(std::string_view name) const {
    const auto key = std::ranges::find(keys, name, &Key::name);
    return key == keys.end() ? nullptr : &key->value;
}

index_t place_tensors(std::vector<Tensor>& tensors, index_t alignment) {
    index_t end = 0;
    for (Tensor& tensor : tensors) {
        tensor.offset = round_up(end, alignment);
        end = tensor.offset + tensor.bytes();
    }
    return end;
}

std::vector<std::string> header_problems(const Header& header) {
    std::vector<std::string> problems;
    check_unique(header.keys, "key", problems);
    check_unique(header.tensors, "tensor", problems);
    check_alignment(header, problems);
    for (const Key& key : header.keys) {
        if (key.name.empty() || key.name.size() > kMaxKeyBytes)
            problems.push_back(concat("a key of ", key.name.size(), " bytes; expected 1 to ", kMaxKeyBytes));
        const auto* const array = std::get_if<Array>(&key.value);
        if (array != nullptr && std::holds_alternative<std::monostate>(*array))
            problems.push_back(concat("the key '", key.name, "' is an array of arrays"));
    }
    for (const Tensor& tensor : header.tensors) {
        const auto problem = [&](const std::string& text) {
            problems.push_back(concat("tensor '", tensor.name, "' ", tensor.shape.to_string(), text));
        };
        if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes)
            problem(concat(": names have 1 to ", kMaxNameBytes, " bytes"));
        const std::span<const index_t> dims = tensor.shape.dims();
        if (dims.empty() || std::ranges::any_of(dims, [](index_t dim) { return dim < 1; })) {
            problem(": expected one to four dimensions, none of them zero");
        } else if (dims.back() % storage_block(tensor.storage) != 0) {
            problem(concat(": rows of ", storage_name(tensor.storage), " are multiples of ",
                           storage_block(tensor.storage)));
        }
    }
    return problems;
}

std::string write_header(const Header& header) {
    std::string problems;
    for (const std::string& problem : header_problems(header)) problems += "\n" + problem;
    if (!problems.empty()) throw IoError("GGUF cannot be written:" + problems);
    std::vector<Tensor> tensors = header.tensors;
    place_tensors(tensors, header.alignment);
    std::string bytes;
    put(bytes, kMagic);
    put(bytes, kVersion);
    put(bytes, static_cast<std::uint64_t>(tensors.size()));
    put(bytes, static_cast<std::uint64_t>(header.keys.size()));
    for (const Key& key : header.keys) {
        put_value(bytes, key.name);
        put(bytes, static_cast<std::uint32_t>(key.value.index()));
        std::visit([&](const auto& value) { put_value(bytes, value); }, key.value);
    }
    for (const Tensor& tensor : tensors) {
        put_value(bytes, tensor.name);
        const std::span<const index_t> dims = tensor.shape.dims();
        put(bytes, static_cast<std::uint32_t>(dims.size()));
        for (std::size_t i = dims.size(); i-- > 0;) put(bytes, static_cast<std::uint64_t>(dims[i]));
        put(bytes, number_of(tensor.storage));
        put(bytes, static_cast<std::uint64_t>(tensor.offset));
    }
    bytes.resize(static_cast<std::size_t>(round_up(static_cast<index_t>(bytes.size()), header.alignment)));
    return bytes;
}

ParsedHeader parse_header(const ReadBytes& read, index_t file_bytes, const std::string& name) {
    Cursor cursor(read, file_bytes, name);
    if (cursor.number<std::uint32_t>() != kMagic)
        throw IoError(concat(name, ": a GGUF file begins with 'GGUF'"));
    const auto version = cursor.number<std::uint32_t>();
    if (version != kVersion)
        throw IoError(
            concat(name, ": GGUF version ", version, "; only version 3, little endian, can be read"));
    // The least that a tensor takes: its name's length, rank, one dimension, type, offset; a key: length, type, value.
    const index_t num_tensors = cursor.count("tensors", 8 + 4 + 8 + 4 + 8);
    const index_t num_keys = cursor.count("keys", 8 + 4 + 1);
    Header header;
    for (index_t i = 0; i < num_keys; ++i) {
        std::string key = cursor.text();
        const auto type = cursor.number<std::uint32_t>();
        header.keys.push_back({std::move(key), take_value_of(cursor, type)});
    }
    for (index_t i = 0; i < num_tensors; ++i) header.tensors.push_back(take_tensor(cursor));
    if (const Value* const value = header.find(kAlignmentKey))
        if (const auto* const number = std::get_if<std::uint32_t>(value)) header.alignment = *number;
    std::string problems;
    for (const std::string& problem : header_problems(header)) problems += "\n" + problem;
    if (!problems.empty()) throw IoError(concat(name, ": wrong GGUF header:", problems));
    const index_t data_begin = round_up(cursor.position(), header.alignment);
    const bool has_data = !header.tensors.empty();
    if (has_data && data_begin > file_bytes) cursor.fail("the file ends before its data");
    check_extent(header.tensors, header.alignment, std::max<index_t>(0, file_bytes - data_begin), name);
    return {std::move(header), data_begin};
}

}  // namespace sy::runtime::gguf
