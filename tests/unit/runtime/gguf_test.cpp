#include "runtime/interchange/gguf.hpp"

#include <catch2/catch.hpp>

#include <cstring>
#include <limits>

#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;

namespace {

using gguf::Header;

/// Every type of value, and tensors of every storage whose data needs padding.
Header example() {
    Header header;
    header.keys = {
        {"general.architecture", std::string("llama")},
        {"a.u8", std::uint8_t{255}},
        {"a.i8", std::int8_t{-128}},
        {"a.u16", std::uint16_t{65535}},
        {"a.i16", std::int16_t{-32768}},
        {"a.u32", std::numeric_limits<std::uint32_t>::max()},
        {"a.i32", std::numeric_limits<std::int32_t>::min()},
        {"a.f32", 1e-6F},
        {"a.bool", true},
        {"a.u64", std::numeric_limits<std::uint64_t>::max()},
        {"a.i64", std::numeric_limits<std::int64_t>::min()},
        {"a.f64", 0.1},
        {"a.texts", gguf::Array(std::vector<std::string>{"", "b", "\xc4\xa0"})},
        {"a.bools", gguf::Array(std::vector<bool>{true, false})},
        {"a.numbers", gguf::Array(std::vector<std::int32_t>{-1, 0, 1})},
        {"a.none", gguf::Array(std::vector<double>{})},
    };
    header.tensors = {{"norm", {3}, Storage::f32, 0},
                      {"experts", {2, 3, 5}, Storage::f16, 0},
                      {"matrix", {3, 7}, Storage::bf16, 0},
                      {"blocks", {2, 64}, Storage::q8_0, 0}};
    gguf::place_tensors(header.tensors, header.alignment);
    return header;
}

/// A whole file: the header and as many zeros as its data has bytes.
std::string file_of(const Header& header) {
    std::vector<gguf::Tensor> tensors = header.tensors;
    const index_t bytes = gguf::place_tensors(tensors, header.alignment);
    return gguf::write_header(header) +
           std::string(static_cast<std::size_t>(round_up(bytes, header.alignment)), '\0');
}

gguf::ParsedHeader parse(const std::string& file) {
    const auto read = [&](index_t offset, std::span<std::byte> bytes) {
        REQUIRE(offset >= 0);
        REQUIRE(static_cast<std::size_t>(offset) + bytes.size() <= file.size());
        std::memcpy(bytes.data(), file.data() + offset, bytes.size());
    };
    return gguf::parse_header(read, static_cast<index_t>(file.size()), "x.gguf");
}

template <class T>
std::string raw(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof(T)};
}
std::string raw_text(const std::string& text) {
    return raw(std::uint64_t{text.size()}) + text;
}
std::string begin_with(std::uint64_t tensors, std::uint64_t keys) {
    return "GGUF" + raw(std::uint32_t{3}) + raw(tensors) + raw(keys);
}
std::string raw_tensor(const std::string& name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                       std::uint64_t offset) {
    std::string text = raw_text(name) + raw(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) text += raw(dim);
    return text + raw(type) + raw(offset);
}
/// The file of a header with data of so many bytes.
std::string with_data(std::string header, std::size_t bytes) {
    header.resize((header.size() + 31) / 32 * 32);
    return header + std::string(bytes, '\0');
}

}  // namespace

TEST_CASE("gguf: a header reads back as it was written", "[unit]") {
    const Header header = example();
    const gguf::ParsedHeader parsed = parse(file_of(header));
    CHECK(parsed.header == header);
    CHECK(parsed.data_begin % 32 == 0);
    CHECK(parsed.header.find("a.f32") != nullptr);
    CHECK(parsed.header.find("a.missing") == nullptr);

    Header wide = header;
    wide.alignment = 128;
    wide.keys.push_back({"general.alignment", std::uint32_t{128}});
    gguf::place_tensors(wide.tensors, 128);
    CHECK(parse(file_of(wide)).header == wide);
    CHECK(parse(file_of(Header{})).header == Header{});
}

TEST_CASE("gguf: tensors written to a file read back, whole and in parts", "[unit]") {
    const TestFolder folder;
    const auto path = folder / "model.gguf";
    const Header header = example();
    std::vector<std::vector<float>> values;
    {
        GgufWriter writer(path, header);
        for (const gguf::Tensor& tensor : header.tensors) {
            std::vector<float>& now = values.emplace_back();
            for (index_t i = 0; i < tensor.shape.num_elements(); ++i)
                now.push_back(static_cast<float>((i + 3) % 19 - 9));
            if (tensor.storage == Storage::q8_0) std::fill(now.begin(), now.end(), 127.0F);
            std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
            encode(tensor.storage, now, bytes);
            writer.append(tensor.name, std::span(bytes).first(2));
            writer.append(tensor.name, std::span(bytes).subspan(2));
        }
        writer.finish();
    }
    const GgufReader reader(path);
    CHECK(reader.header() == header);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const gguf::Tensor& tensor = reader.header().tensors[i];
        std::vector<float> back(values[i].size());
        reader.read(tensor, 0, back);
        CHECK(back == values[i]);
        const index_t block = storage_block(tensor.storage);
        std::vector<float> part(static_cast<std::size_t>(2 * block));
        reader.read(tensor, block, part);
        CHECK(std::equal(part.begin(), part.end(), values[i].begin() + block));
    }
    CHECK_THROWS_AS(GgufWriter(path, header), IoError);
    CHECK_THROWS_AS(GgufReader(folder / "missing.gguf"), IoError);
}

TEST_CASE("gguf: tensors are written in turn, and all of them", "[unit]") {
    const TestFolder folder;
    GgufWriter writer(folder / "model.gguf", example());
    const std::vector<std::byte> bytes(12);
    CHECK_THROWS_AS(writer.append("matrix", bytes), LogicError);
    CHECK_THROWS_AS(writer.append("norm", std::vector<std::byte>(13)), LogicError);
    CHECK_NOTHROW(writer.append("norm", bytes));
    CHECK_THROWS_AS(writer.append("norm", bytes), LogicError);
    CHECK_THROWS_AS(writer.finish(), LogicError);
}

TEST_CASE("gguf: what llama.cpp would not read is not written, all problems at once", "[unit]") {
    Header header = example();
    header.alignment = 24;
    header.keys.push_back({"a.u8", 1.0F});
    header.keys.push_back({"", true});
    header.tensors.push_back({std::string(64, 'n'), {2, 33}, Storage::q8_0, 0});
    header.tensors.push_back({"norm", Shape{}, Storage::f32, 0});
    CHECK_THROWS_WITH(
        gguf::write_header(header),
        Catch::Contains("an alignment of 24 bytes") && Catch::Contains("'a.u8' is there twice") &&
            Catch::Contains("a key of 0 bytes") && Catch::Contains("names have 1 to 63 bytes") &&
            Catch::Contains("rows of q8_0 are multiples of 32") &&
            Catch::Contains("the tensor 'norm' is there twice") && Catch::Contains("none of them zero"));
    header = example();
    header.alignment = 64;
    CHECK_THROWS_WITH(gguf::write_header(header), Catch::Contains("without general.alignment"));
}

TEST_CASE("gguf: a file that is cut short at any byte is refused", "[unit]") {
    const std::string file = file_of(example());
    // The last tensor ends before the padding does.
    const std::size_t end = file.size() - (32 - 2 * 2 * 34 % 32);
    for (std::size_t size = 0; size < end; ++size) CHECK_THROWS_AS(parse(file.substr(0, size)), IoError);
    CHECK_NOTHROW(parse(file.substr(0, end)));
    CHECK_THROWS_WITH(parse(file + "x"), Catch::Contains("belong to none"));
}

TEST_CASE("gguf: files that contradict themselves are refused with what is wrong", "[unit]") {
    const std::uint64_t huge = std::uint64_t{1} << 62;
    const auto refused = [](const std::string& file, const std::string& why) {
        INFO(why);
        CHECK_THROWS_WITH(parse(file), Catch::Contains("x.gguf") && Catch::Contains(why));
    };
    refused("GGUF" + raw(std::uint32_t{2}) + std::string(40, '\0'), "GGUF version 2");
    refused("GGML" + std::string(40, '\0'), "begins with 'GGUF'");
    refused(begin_with(huge, 0), "tensors do not fit");
    refused(begin_with(0, huge), "keys do not fit");
    refused(begin_with(0, 1) + raw(huge) + std::string(40, 'k'), "bytes of text do not fit");
    const auto key = [](std::uint32_t type, const std::string& value) {
        return begin_with(0, 1) + raw_text("k") + raw(type) + value;
    };
    refused(key(13, std::string(16, '\0')), "unknown type 13");
    refused(key(9, raw(std::uint32_t{9}) + std::string(16, '\0')), "an array of arrays");
    refused(key(9, raw(std::uint32_t{77}) + std::string(16, '\0')), "unknown type 77");
    refused(key(9, raw(std::uint32_t{0}) + raw(huge) + std::string(16, '\0')), "elements of an array");
    refused(key(9, raw(std::uint32_t{8}) + raw(std::uint64_t{3}) + std::string(16, '\0')),
            "elements of an array");
    refused(key(7, "\2"), "a bool is 2");
    refused(begin_with(0, 2) + raw_text("k") + raw(std::uint32_t{7}) + "\1" + raw_text("k") +
                raw(std::uint32_t{7}) + "\1",
            "'k' is there twice");
    const auto tensors = [](const std::string& all, std::uint64_t count, std::size_t bytes) {
        return with_data(begin_with(count, 0) + all, bytes);
    };
    refused(tensors(raw_tensor("t", {}, 0, 0), 1, 64), "has 0 dimensions");
    refused(tensors(raw_tensor("t", {1, 1, 1, 1, 1}, 0, 0), 1, 64), "has 5 dimensions");
    refused(tensors(raw_tensor("t", {0}, 0, 0), 1, 64), "a dimension of 0");
    refused(tensors(raw_tensor("t", {std::uint64_t{1} << 31, std::uint64_t{1} << 31}, 0, 0), 1, 64),
            "a dimension of");
    refused(tensors(raw_tensor("t", {4}, 2, 0), 1, 64), "has type 2;");
    refused(tensors(raw_tensor("t", {33}, 8, 0), 1, 64), "multiples of 32");
    refused(tensors(raw_tensor("t", {4}, 0, huge * 3), 1, 64), "begins at byte");
    refused(tensors(raw_tensor("t", {17}, 0, 0), 1, 64), "does not fit the 64 bytes");
    refused(tensors(raw_tensor("t", {16}, 0, 0) + raw_tensor("t", {16}, 0, 64), 2, 128),
            "'t' is there twice");
    refused(tensors(raw_tensor("t", {16}, 0, 0) + raw_tensor("u", {16}, 0, 32), 2, 128), "expected 64");
    refused(tensors(raw_tensor("t", {16}, 0, 0) + raw_tensor("u", {16}, 0, 96), 2, 160), "without holes");
    refused(tensors(raw_tensor("t", {16}, 0, 0), 1, 96), "32 bytes behind the last tensor");
    refused(tensors(raw_tensor(std::string(64, 't'), {16}, 0, 0), 1, 64), "1 to 63 bytes");
    CHECK_NOTHROW(parse(tensors(raw_tensor("t", {16}, 0, 0), 1, 64)));
}
