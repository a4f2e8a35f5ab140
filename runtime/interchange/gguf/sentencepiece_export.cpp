#include <algorithm>

#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/sentencepiece_model.hpp"

namespace sy::runtime::gguf {
namespace {

using Type = SentencePieceModel::Type;

/// What llama.cpp's tokenizer of this kind would do otherwise.
std::vector<std::string> model_problems(const SentencePieceModel& model, index_t vocab_size) {
    std::vector<std::string> problems;
    const auto require = [&](bool holds, const std::string& problem) {
        if (!holds) problems.push_back(problem);
    };
    require(model.algorithm == SentencePieceModel::Algorithm::bpe,
            "its model_type is not bpe, the only one that is written so far");
    require(model.byte_fallback,
            "it has no byte_fallback, without which llama.cpp fails at characters without a piece");
    require(!model.normalizes, "it normalizes texts, llama.cpp does not");
    require(!model.remove_extra_whitespaces,
            "it removes blanks (remove_extra_whitespaces), llama.cpp does not");
    require(model.escape_whitespaces && !model.whitespace_as_suffix,
            "it does not write blanks as U+2581 before words, llama.cpp does");
    const bool has_user_defined = std::ranges::any_of(
        model.pieces,
        [](const SentencePieceModel::Piece& piece) { return piece.type == Type::user_defined; });
    require(!has_user_defined || !model.add_dummy_prefix,
            "it has user-defined pieces and puts a blank before texts, which llama.cpp puts behind such "
            "pieces too");
    require(static_cast<index_t>(model.pieces.size()) <= vocab_size,
            concat("it has ", model.pieces.size(), " pieces, but model.vocab_size = ", vocab_size));
    require(model.end_of_text >= 0, "it has no piece that ends a text (eos_id)");
    return problems;
}

bool config_flag(const Json& config, std::string_view name) {
    const Json* const value = config.find(name);
    return value != nullptr && value->is_bool() && value->as_bool();
}

}  // namespace

TokenizerKeys sentencepiece_keys(std::string_view bytes, const Json& config, const std::string& name,
                                 index_t vocab_size) {
    const SentencePieceModel model = read_sentencepiece_model(bytes, name);
    std::vector<std::string> problems = model_problems(model, vocab_size);
    for (std::string& problem : problems)
        problem = concat("data.tokenizer = ", name, " cannot be written to GGUF: ", problem);
    if (!problems.empty()) throw ConfigError(problems);
    std::vector<std::string> tokens;
    std::vector<float> scores;
    std::vector<std::int32_t> types;
    for (const SentencePieceModel::Piece& piece : model.pieces) {
        tokens.push_back(piece.text);
        scores.push_back(piece.score);
        types.push_back(static_cast<std::int32_t>(piece.type));  // the same numbers
    }
    for (auto id = static_cast<index_t>(tokens.size()); id < vocab_size; ++id) {
        tokens.push_back(concat("[PAD", id, "]"));
        scores.push_back(0.0F);
        types.push_back(kUnused);
    }
    const auto end = static_cast<std::uint32_t>(model.end_of_text);
    TokenizerKeys result;
    result.keys = {{"tokenizer.ggml.model", std::string("llama")},
                   {"tokenizer.ggml.pre", std::string("default")},
                   {"tokenizer.ggml.tokens", Array(std::move(tokens))},
                   {"tokenizer.ggml.scores", Array(std::move(scores))},
                   {"tokenizer.ggml.token_type", Array(std::move(types))},
                   {"tokenizer.ggml.bos_token_id",
                    model.begin_of_text < 0 ? end : static_cast<std::uint32_t>(model.begin_of_text)},
                   {"tokenizer.ggml.eos_token_id", end},
                   {"tokenizer.ggml.add_space_prefix", model.add_dummy_prefix},
                   {"tokenizer.ggml.add_bos_token", config_flag(config, "add_bos_token")},
                   {"tokenizer.ggml.add_eos_token", config_flag(config, "add_eos_token")}};
    if (model.padding >= 0)
        result.keys.push_back({"tokenizer.ggml.padding_token_id", static_cast<std::uint32_t>(model.padding)});
    const auto unknown = std::ranges::find(model.pieces, Type::unknown, &SentencePieceModel::Piece::type);
    if (unknown != model.pieces.end())
        result.keys.push_back(
            {"tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(unknown - model.pieces.begin())});
    return result;
}

}  // namespace sy::runtime::gguf
