#include <algorithm>

#include "runtime/interchange/gguf/model.hpp"
#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/tokenizer/byte_level.hpp"

namespace sy::runtime::gguf {

std::vector<Key> byte_tokenizer(index_t vocab_size) {
    if (vocab_size < kNumBytes)
        throw ConfigError(concat("data.tokenizer = bytes cannot be written to GGUF: it has ", kNumBytes,
                                 " tokens, but model.vocab_size = ", vocab_size));
    const auto characters = byte_characters();
    std::vector<std::string> tokens(characters.begin(), characters.end());
    std::vector<std::int32_t> types(static_cast<std::size_t>(vocab_size), kUnused);
    std::fill_n(types.begin(), tokens.size(), kNormal);
    for (auto id = static_cast<index_t>(tokens.size()); id < vocab_size; ++id)
        tokens.push_back(concat("<|unused_", id, "|>"));
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
