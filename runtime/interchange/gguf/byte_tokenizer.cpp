#include "runtime/interchange/gguf/model.hpp"

namespace sy::runtime::gguf {
namespace {

constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kUnused = 5;

/// Bytes that GPT-2 writes as themselves: the visible ones of Latin-1, without the soft hyphen.
bool is_visible(index_t byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/// UTF-8 of a code point below 0x800.
std::string utf8(index_t code) {
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

}  // namespace

/// @par Source  GPT-2's encoder.py, bytes_to_unicode: the other bytes are code points from 256 on, in their order
std::vector<Key> byte_tokenizer(index_t vocab_size) {
    std::vector<std::string> tokens;
    std::vector<std::int32_t> types(static_cast<std::size_t>(vocab_size), kUnused);
    index_t next = kNumBytes;
    for (index_t byte = 0; byte < kNumBytes; ++byte) {
        tokens.push_back(utf8(is_visible(byte) ? byte : next++));
        types[static_cast<std::size_t>(byte)] = kNormal;
    }
    for (index_t id = kNumBytes; id < vocab_size; ++id) tokens.push_back(concat("<|unused_", id, "|>"));
    // No byte ends a text; ids are written all the same, since llama.cpp would take 11 for both.
    constexpr std::uint32_t kNone = 0;
    return {{"tokenizer.ggml.model", std::string("gpt2")},
            {"tokenizer.ggml.pre", std::string("default")},
            {"tokenizer.ggml.tokens", Array(std::move(tokens))},
            {"tokenizer.ggml.token_type", Array(std::move(types))},
            {"tokenizer.ggml.merges", Array(std::vector<std::string>{})},
            {"tokenizer.ggml.bos_token_id", kNone},
            {"tokenizer.ggml.eos_token_id", kNone},
            {"tokenizer.ggml.padding_token_id", kNone},
            {"tokenizer.ggml.add_bos_token", false},
            {"tokenizer.ggml.add_eos_token", false}};
}

}  // namespace sy::runtime::gguf
