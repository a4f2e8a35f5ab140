#include "runtime/interchange/gguf/split.hpp"

#include <catch2/catch.hpp>

#include <fstream>

#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

gguf::Header three_tensors() {
    gguf::Header header;
    header.keys = {{"general.architecture", std::string("llama")}, {"llama.block_count", std::uint32_t{2}}};
    header.tensors = {
        {"a", {4, 8}, Storage::f32, 0}, {"b", {8}, Storage::f32, 0}, {"c", {16, 8}, Storage::bf16, 0}};
    gguf::place_tensors(header.tensors, header.alignment);
    return header;
}

std::vector<float> values_of(const gguf::Tensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.num_elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) + tensor.name[0];
    return values;
}

/// The example in three files. @return the first
fs::path write_split(const fs::path& folder) {
    const gguf::Header whole = three_tensors();
    const auto plan = gguf::plan_files(whole.tensors, 100);
    REQUIRE(plan == std::vector<std::vector<std::size_t>>{{0}, {1}, {2}});
    const std::vector<gguf::Header> headers = gguf::split_headers(whole, plan);
    for (index_t file = 0; file < 3; ++file) {
        const gguf::Header& header = headers[static_cast<std::size_t>(file)];
        GgufWriter writer(gguf::split_name(folder / "model.gguf", file, 3), header);
        for (const gguf::Tensor& tensor : header.tensors) {
            const std::vector<float> values = values_of(tensor);
            std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
            encode(tensor.storage, values, bytes);
            writer.append(tensor.name, bytes);
        }
        writer.finish();
    }
    return folder / "model-00001-of-00003.gguf";
}

}  // namespace

TEST_CASE("gguf split: several files are read as one, with the keys of the whole", "[unit]") {
    const TestFolder folder;
    const gguf::SplitReader reader(write_split(folder.path()));
    CHECK(reader.header().keys == three_tensors().keys);
    REQUIRE(reader.header().tensors.size() == 3);
    for (const gguf::Tensor& tensor : reader.header().tensors) {
        std::vector<float> values(values_of(tensor).size());
        reader.read(tensor, 0, values);
        CHECK(values == values_of(tensor));
    }
}

TEST_CASE("gguf split: tensors fill files up to a size, and one that is larger has its own", "[unit]") {
    const std::vector<gguf::Tensor> tensors = three_tensors().tensors;
    CHECK(gguf::plan_files(tensors, 1) == std::vector<std::vector<std::size_t>>{{0}, {1}, {2}});
    CHECK(gguf::plan_files(tensors, 160) == std::vector<std::vector<std::size_t>>{{0, 1}, {2}});
    CHECK(gguf::plan_files(tensors, 1000) == std::vector<std::vector<std::size_t>>{{0, 1, 2}});
}

TEST_CASE("gguf split: a missing file, another one's, and any but the first are refused by name", "[unit]") {
    const TestFolder folder;
    const fs::path first = write_split(folder.path());
    const fs::path second = folder / "model-00002-of-00003.gguf";
    const fs::path third = folder / "model-00003-of-00003.gguf";
    CHECK_THROWS_WITH(gguf::SplitReader(second), Catch::Contains("is file 2 of 3; give the first one"));
    fs::rename(second, folder / "kept");
    CHECK_THROWS_WITH(gguf::SplitReader(first), Catch::Contains("model-00002-of-00003.gguf"));
    fs::copy_file(third, second);
    CHECK_THROWS_WITH(gguf::SplitReader(first), Catch::Contains("does not say that it is file 2 of 3"));
    fs::remove(second);
    fs::rename(folder / "kept", second);
    fs::rename(first, folder / "other.gguf");
    CHECK_THROWS_WITH(gguf::SplitReader(folder / "other.gguf"),
                      Catch::Contains("its name ends with -00001-of-00003.gguf"));
}
