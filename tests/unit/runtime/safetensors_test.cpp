#include "runtime/interchange/safetensors.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/interchange/hf_weights.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

/// A file with this header, padded as it stands, and data.
std::string file_text(const std::string& header, std::size_t data_bytes) {
    const std::uint64_t length = header.size();
    std::string text(sizeof(length), '\0');
    std::memcpy(text.data(), &length, sizeof(length));
    return text + header + std::string(data_bytes, '\0');
}

/// What is wrong with a file of this header and data.
std::string problem_of(const std::string& header, std::size_t data_bytes) {
    const test::TestFolder folder;
    const std::string path = folder.file("model.safetensors", file_text(header, data_bytes));
    try {
        const SafetensorsFile file(path);
    } catch (const IoError& error) {
        return error.what();
    }
    return "";
}

const std::string kTwo = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"F16","shape":[1,3],"data_offsets":[8,14]}})";

}  // namespace

TEST_CASE("safetensors: what is written reads back, by rows, in the official writer's order", "[unit]") {
    const test::TestFolder folder;
    const std::filesystem::path path = folder / "model.safetensors";
    std::vector<SafetensorsEntry> entries{
        {"b", Storage::bf16, {2, 3}, {}}, {"c", Storage::f32, {2}, {}}, {"a", Storage::f16, {3, 1}, {}}};
    SafetensorsWriter writer(path, entries);
    std::vector<std::string> order;
    for (const SafetensorsEntry& entry : writer.entries()) order.push_back(entry.name);
    REQUIRE(order == std::vector<std::string>{"c", "a", "b"});
    const std::vector<std::vector<float>> values{
        {1.5F, -2.0F}, {0.5F, 65504.0F, 0x1p-24F}, {1, 2, 3, 4, 5, 6}};
    for (std::size_t i = 0; i < values.size(); ++i) {
        const SafetensorsEntry& entry = writer.entries()[i];
        std::vector<std::byte> bytes(static_cast<std::size_t>(entry.bytes.size()));
        encode(entry.storage, values[i], bytes);
        writer.write(bytes);
    }
    const index_t num_bytes = writer.finish();

    const std::string text = test::read_text(path);
    CHECK(static_cast<index_t>(text.size()) == num_bytes);
    CHECK(text.substr(8, 34) == R"({"__metadata__":{"format":"pt"},"c)");
    const SafetensorsFile file(path);
    REQUIRE(file.entries().size() == 3);
    CHECK((text.size() - 8 - 12 - 6 - 8) % 8 == 0);
    std::vector<float> row(3);
    file.read_rows(file.entries()[2], {1, 2}, row);
    CHECK(row == std::vector<float>{4, 5, 6});
    std::vector<float> halves(3);
    file.read_rows(file.entries()[1], {0, 3}, halves);
    CHECK(halves == std::vector<float>{0.5F, 65504.0F, 0x1p-24F});
    CHECK_THROWS_WITH(SafetensorsWriter(path, entries), Catch::Contains("File exists"));
}

TEST_CASE("safetensors: a file as the official writer makes it is read", "[unit]") {
    CHECK(problem_of(kTwo + "  ", 14) == "");
    CHECK(
        problem_of(R"({"__metadata__":{"format":"pt"},"s":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},)"
                   R"("e":{"dtype":"F32","shape":[0,4],"data_offsets":[2,2]}})",
                   2) == "");
}

TEST_CASE("safetensors: headers that are no headers are refused", "[unit]") {
    using Catch::Contains;
    const test::TestFolder folder;
    CHECK_THROWS_WITH(SafetensorsFile(folder.file("short", "abc")), Contains("has 3 bytes"));
    CHECK_THROWS_WITH(SafetensorsFile(folder.file("long", std::string(8, '\xff') + "{}")),
                      Contains("its header has 18446744073709551615 bytes by its first eight"));
    CHECK_THAT(problem_of(" {}", 0), Contains("does not begin with {"));
    CHECK_THAT(problem_of("{\"a\":", 0), Contains("is no JSON"));
    CHECK_THAT(problem_of("{\"a\":1}", 0), Contains("a: expected dtype, shape and data_offsets"));
}

TEST_CASE("safetensors: tensors that do not fit their bytes are refused", "[unit]") {
    using Catch::Contains;
    const auto one = [](const std::string& entry) { return R"({"a":{)" + entry + "}}"; };
    CHECK_THAT(problem_of(one(R"("dtype":"I64","shape":[1],"data_offsets":[0,8])"), 8),
               Contains("a: its dtype is I64"));
    CHECK_THAT(problem_of(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8),
               Contains("a: data_offsets [0,8] do not hold [3] of F32, 12 bytes"));
    CHECK_THAT(problem_of(one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8),
               Contains("none negative"));
    CHECK_THAT(problem_of(one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"), 8),
               Contains("a: "));
    // Four bytes for each would be 2^64, and no bytes at all.
    CHECK_THAT(problem_of(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"), 0),
               Contains("a: its shape is [4611686018427387904], which no file can hold"));
    CHECK_THAT(problem_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[2,-9223372036854775807])"), 8),
               Contains("do not hold [2] of F32, 8 bytes"));
    CHECK_THAT(problem_of(kTwo, 15), Contains("the tensors end at byte 14 of the data, which has 15"));
    CHECK_THAT(problem_of(kTwo, 13), Contains("the tensors end at byte 14 of the data, which has 13"));
    std::string hole = kTwo;
    hole.replace(hole.find("[8,14]"), 6, "[9,15]");
    CHECK_THAT(problem_of(hole, 15),
               Contains("b begins at byte 9 of the data, the tensor before it ends at 8"));
    std::string overlap = kTwo;
    overlap.replace(overlap.find("[8,14]"), 6, "[6,12]");
    CHECK_THAT(problem_of(overlap, 12), Contains("b begins at byte 6"));
}

TEST_CASE("safetensors: a name that is there twice is refused", "[unit]") {
    std::string twice = kTwo;
    twice.replace(twice.find("\"b\""), 3, "\"a\"");
    CHECK_THAT(problem_of(twice, 14), Catch::Contains("has a name twice"));
}

TEST_CASE("safetensors: a folder of links, as Hugging Face's cache has it, is read to where they end",
          "[unit]") {
    namespace fs = std::filesystem;
    const test::TestFolder folder;
    fs::create_directories(folder / "blobs");
    fs::create_directories(folder / "snapshots/0123");
    const fs::path snapshot = folder / "snapshots/0123";
    const fs::path weights = snapshot / "model-00001-of-00001.safetensors";
    const fs::path index = snapshot / "model.safetensors.index.json";
    folder.file("blobs/weights", file_text(kTwo, 14));
    folder.file("blobs/index", R"({"weight_map":{"a":"model-00001-of-00001.safetensors",)"
                               R"("b":"model-00001-of-00001.safetensors"}})");
    fs::create_symlink("../../blobs/weights", weights);
    fs::create_symlink("../../blobs/index", index);
    const HfWeights read(snapshot);
    CHECK(read.shapes() == std::map<std::string, Shape>{{"a", Shape{2}}, {"b", Shape{1, 3}}});
    std::vector<float> values(2, 1.0F);
    read.read_rows("a", {0, 1}, values);
    CHECK(values == std::vector<float>{0.0F, 0.0F});

    // The index names files of its own folder alone, whatever the links of that folder are.
    folder.file("blobs/index", R"({"weight_map":{"a":"../../blobs/weights"}})");
    CHECK_THROWS_WITH(HfWeights(snapshot), Catch::Contains("which is no plain name of a safetensors file"));
}

TEST_CASE("safetensors: links that end in no regular file are refused", "[unit]") {
    namespace fs = std::filesystem;
    using Catch::Contains;
    const test::TestFolder folder;
    const fs::path weights = folder / "model.safetensors";
    const auto problem_of_link = [&](const char* target) {
        fs::remove(weights);
        fs::create_symlink(target, weights);
        try {
            const HfWeights read(folder.path());
        } catch (const IoError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK_THAT(problem_of_link("blobs/gone"),
               Contains("blobs/gone, to which it is a link, is missing or unreadable"));
    CHECK_THAT(problem_of_link("model.safetensors"), Contains("Too many levels of symbolic links"));
    CHECK_THAT(problem_of_link("."), Contains("is no regular file, nor a link to one"));
    CHECK_THAT(problem_of_link("/dev/zero"), Contains("is no regular file, nor a link to one"));
    // Opening a pipe to which nobody writes would wait for ever.
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK_THAT(problem_of_link("pipe"), Contains("is no regular file, nor a link to one"));
    // An index that is listed is meant, although its contents are not there.
    fs::create_symlink("gone", folder / "model.safetensors.index.json");
    CHECK_THAT(problem_of_link("pipe"),
               Contains("model.safetensors.index.json: gone, to which it is a link, is missing"));
    folder.file("there", "text");
    problem_of_link("there");
    CHECK_THROWS_WITH(runtime::detail::RegularFile(weights),
                      Contains("files of a checkpoint are regular files"));
}
