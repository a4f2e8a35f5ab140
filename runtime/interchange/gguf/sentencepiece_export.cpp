#include <algorithm>

#include "kernels/core/problems.hpp"
#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/sentencepiece_model.hpp"

namespace sy::runtime::gguf {
namespace {

using Type = SentencePieceModel::Type;
using Algorithm = SentencePieceModel::Algorithm;

/// What is written for ids that have no piece. llama.cpp looks for it in texts of unigram models, where no other piece may
/// score as low.
constexpr float kUnusedScore = -10000.0F;

bool has_type(const SentencePieceModel& model, Type type) {
    return std::ranges::find(model.pieces, type, &SentencePieceModel::Piece::type) != model.pieces.end();
}

/// What llama.cpp's tokenizer "llama" does otherwise.
void check_bpe(const SentencePieceModel& model, Problems& problems) {
    problems.require(model.byte_fallback,
                     "it has no byte_fallback, without which llama.cpp fails at characters without a piece");
    problems.require(model.characters_map.empty(),
                     "it normalizes texts, which llama.cpp's tokenizer for bpe does not");
    problems.require(!model.remove_extra_whitespaces,
                     "it removes blanks (remove_extra_whitespaces), llama.cpp's tokenizer for bpe does not");
    problems.require(!has_type(model, Type::user_defined) || !model.add_dummy_prefix,
                     "it has user-defined pieces and puts a blank before texts, which llama.cpp puts behind "
                     "such pieces too");
}

/// What llama.cpp's tokenizer "t5" does otherwise.
void check_unigram(const SentencePieceModel& model, Problems& problems) {
    problems.require(!model.byte_fallback,
                     "it has byte_fallback, llama.cpp's tokenizer for unigram models has unknown characters");
    problems.require(model.remove_extra_whitespaces == model.add_dummy_prefix,
                     "of add_dummy_prefix and remove_extra_whitespaces it has one, llama.cpp both or none");
    problems.require(!has_type(model, Type::user_defined) && !has_type(model, Type::unused),
                     "it has user-defined or unused pieces, which llama.cpp's tokenizer for unigram models "
                     "scores otherwise");
    problems.require(has_type(model, Type::unknown), "it has no piece for unknown characters");
}

std::vector<std::string> model_problems(const SentencePieceModel& model, index_t vocab_size) {
    Problems problems;
    if (model.algorithm == Algorithm::bpe) {
        check_bpe(model, problems);
    } else if (model.algorithm == Algorithm::unigram) {
        check_unigram(model, problems);
    } else {
        problems.require(false, "its model_type is neither bpe nor unigram, and llama.cpp has no other");
    }
    problems.require(model.escape_whitespaces && !model.whitespace_as_suffix,
                     "it does not write blanks as U+2581 before words, llama.cpp does");
    problems.require(static_cast<index_t>(model.pieces.size()) <= vocab_size,
                     concat("it has ", model.pieces.size(), " pieces, but model.vocab_size = ", vocab_size));
    problems.require(model.end_of_text >= 0, "it has no piece that ends a text (eos_id)");
    return problems.take();
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
        scores.push_back(kUnusedScore);
        types.push_back(kUnused);
    }
    const auto end = static_cast<std::uint32_t>(model.end_of_text);
    const bool is_unigram = model.algorithm == Algorithm::unigram;
    TokenizerKeys result;
    result.keys = {{"tokenizer.ggml.model", std::string(is_unigram ? "t5" : "llama")},
                   {"tokenizer.ggml.pre", std::string("default")},
                   {"tokenizer.ggml.tokens", Array(std::move(tokens))},
                   {"tokenizer.ggml.scores", Array(std::move(scores))},
                   {"tokenizer.ggml.token_type", Array(std::move(types))},
                   {"tokenizer.ggml.bos_token_id",
                    model.begin_of_text < 0 ? end : static_cast<std::uint32_t>(model.begin_of_text)},
                   {"tokenizer.ggml.eos_token_id", end},
                   {"tokenizer.ggml.add_space_prefix", model.add_dummy_prefix},
                   {"tokenizer.ggml.remove_extra_whitespaces", model.remove_extra_whitespaces},
                   {"tokenizer.ggml.add_bos_token", config_flag(config, "add_bos_token")},
                   {"tokenizer.ggml.add_eos_token", config_flag(config, "add_eos_token")}};
    if (is_unigram)
        result.notes.emplace_back(
            "where several cuts of a text have the same score, as \"??\" \"?\" and \"?\" \"??\", llama.cpp "
            "may take "
            "another one than SentencePiece, which adds scores up in float32");
    if (!model.characters_map.empty())
        result.keys.push_back(
            {"tokenizer.ggml.precompiled_charsmap",
             Array(std::vector<std::uint8_t>(model.characters_map.begin(), model.characters_map.end()))});
    if (model.padding >= 0)
        result.keys.push_back({"tokenizer.ggml.padding_token_id", static_cast<std::uint32_t>(model.padding)});
    const auto unknown = std::ranges::find(model.pieces, Type::unknown, &SentencePieceModel::Piece::type);
    if (unknown != model.pieces.end())
        result.keys.push_back(
            {"tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(unknown - model.pieces.begin())});
    return result;
}

}  // namespace sy::runtime::gguf
