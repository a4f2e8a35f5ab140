// A folder of safetensors files and their index that someone else made. An input is an index, a line of ====, and a file
// that the index may name a.safetensors; without the line it is a file alone.
#include "kernels/core/error.hpp"
#include "runtime/interchange/foreign_model.hpp"
#include "runtime/interchange/hf_weights.hpp"
#include "tests/fuzz/scratch_file.hpp"
#include "tests/fuzz/target.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

constexpr std::string_view kLine = "\n====\n";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string weights_file() {
    std::vector<SafetensorsEntry> entries{{"a", Storage::f32, Shape{2, 3}, {}},
                                          {"b", Storage::bf16, Shape{4}, {}},
                                          {"c", Storage::f16, Shape{2, 1, 2}, {}},
                                          {"empty", Storage::f32, Shape{0, 7}, {}}};
    std::string file = safetensors_header(entries);
    file.append(static_cast<std::size_t>(entries.back().bytes.end), '\0');
    return file;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
    const std::string index =
        R"({"metadata":{"total_size":40},"weight_map":{"a":"a.safetensors","b":"a.safetensors",)"
        R"("c":"a.safetensors","empty":"a.safetensors"}})";
    return {weights_file(), index + std::string(kLine) + weights_file()};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const ScratchFolder folder;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t line = input.find(kLine);
    const bool has_index = line != std::string_view::npos;
    const std::string_view file = has_index ? input.substr(line + kLine.size()) : input;
    std::filesystem::remove(folder.path() / kIndex);
    if (has_index) folder.file(kIndex, input.substr(0, line));
    folder.file(has_index ? "a.safetensors" : "model.safetensors", file);
    try {
        const HfWeights weights(folder.path());
        std::size_t num_values = 0;
        for (const auto& [name, shape] : weights.shapes()) {
            num_values += static_cast<std::size_t>(shape.num_elements());
            SY_REQUIRE(2 * num_values <= file.size(), "more values than the file has bytes for");
            std::vector<float> values(static_cast<std::size_t>(shape.num_elements()));
            try {
                weights.read_rows(name, {0, foreign_size(shape).rows}, values);
            } catch (const IoError&) {
                // Values may be infinite.
            }
        }
    } catch (const IoError&) {
    }
    return 0;
}
