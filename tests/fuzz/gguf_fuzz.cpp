// The header of a GGUF file that someone else made, and what its keys mean: settings and a tokenizer.
#include <cstring>

#include "runtime/interchange/gguf/model.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
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
    gguf::Header bytes;
    bytes.keys = {
        {"general.architecture", std::string("gpt2")},   {"gpt2.block_count", std::uint32_t{1}},
        {"gpt2.context_length", std::uint32_t{8}},       {"gpt2.embedding_length", std::uint32_t{4}},
        {"gpt2.attention.head_count", std::uint32_t{2}}, {"gpt2.feed_forward_length", std::uint32_t{8}},
        {"gpt2.attention.layer_norm_epsilon", 1e-5F}};
    bytes.tensors = {{"token_embd.weight", {256, 4}, Storage::f32, 0}};
    for (gguf::Key& key : gguf::byte_tokenizer(256)) bytes.keys.push_back(std::move(key));
    gguf::Header pieces;
    pieces.keys = {{"tokenizer.ggml.model", std::string("t5")},
                   {"tokenizer.ggml.tokens", gguf::Array(std::vector<std::string>{"<unk>", "</s>", "a"})},
                   {"tokenizer.ggml.scores", gguf::Array(std::vector<float>{0.0F, 0.0F, -1.5F})},
                   {"tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{2, 3, 1})},
                   {"tokenizer.ggml.precompiled_charsmap", gguf::Array(std::vector<std::uint8_t>{1, 0, 255})},
                   {"tokenizer.ggml.eos_token_id", std::uint32_t{1}}};
    gguf::Header words;
    words.keys = {{"tokenizer.ggml.model", std::string("bert")},
                  {"tokenizer.ggml.tokens",
                   gguf::Array(std::vector<std::string>{"[UNK]", "[CLS]", "[SEP]", "\u2581a", "s"})},
                  {"tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{3, 3, 3, 1, 1})},
                  {"tokenizer.ggml.unknown_token_id", std::uint32_t{0}},
                  {"tokenizer.ggml.bos_token_id", std::uint32_t{1}},
                  {"tokenizer.ggml.seperator_token_id", std::uint32_t{2}}};
    return {file_of(header), file_of({}), file_of(bytes), file_of(pieces), file_of(words)};
}

namespace {

/// Neither says anything but what is wrong with the file.
void read_meaning(const gguf::Header& header) {
    try {
        gguf::read_tokenizer(header);
    } catch (const IoError&) {
    }
    try {
        gguf::read_settings(header);
    } catch (const IoError&) {
    } catch (const ConfigError&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string file(reinterpret_cast<const char*>(data), size);
    try {
        const gguf::ParsedHeader parsed = parse(file);
        // What is accepted is written and read back as it was. Compared as bytes: keys may be NaN.
        read_meaning(parsed.header);
        const std::string written = file_of(parsed.header);
        SY_REQUIRE(file_of(parse(written).header) == written, "the header changes when written");
    } catch (const IoError&) {
    }
    return 0;
}
