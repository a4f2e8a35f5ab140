// The header of a GGUF file that someone else made.
#include <cstring>

#include "runtime/interchange/gguf.hpp"
#include "tests/fuzz/target.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

std::string file_of(const gguf::Header& header) {
    std::vector<gguf::Tensor> tensors = header.tensors;
    const index_t bytes = gguf::place_tensors(tensors, header.alignment);
    return gguf::write_header(header) + std::string(static_cast<std::size_t>(bytes), '\0');
}

gguf::ParsedHeader parse(const std::string& file) {
    const auto read = [&](index_t offset, std::span<std::byte> bytes) {
        SY_REQUIRE(offset >= 0 && bytes.size() <= file.size() &&
                       static_cast<std::size_t>(offset) <= file.size() - bytes.size(),
                   "bytes are read that are not there");
        std::memcpy(bytes.data(), file.data() + offset, bytes.size());
    };
    return gguf::parse_header(read, static_cast<index_t>(file.size()), "fuzz.gguf");
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
    gguf::Header header;
    header.keys = {{"general.architecture", std::string("llama")},
                   {"llama.block_count", std::uint32_t{2}},
                   {"tokenizer.ggml.tokens", gguf::Array(std::vector<std::string>{"a", "b"})},
                   {"tokenizer.ggml.scores", gguf::Array(std::vector<float>{0.0F, 1.0F})}};
    header.tensors = {{"norm", {3}, Storage::f32, 0},
                      {"experts", {2, 3, 4}, Storage::f16, 0},
                      {"blocks", {2, 32}, Storage::q8_0, 0}};
    return {file_of(header), file_of({})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string file(reinterpret_cast<const char*>(data), size);
    try {
        const gguf::ParsedHeader parsed = parse(file);
        // What is accepted is written and read back as it was. Compared as bytes: keys may be NaN.
        const std::string written = file_of(parsed.header);
        SY_REQUIRE(file_of(parse(written).header) == written, "the header changes when written");
    } catch (const IoError&) {
    }
    return 0;
}
