#include <algorithm>

#include "runtime/interchange/gguf/tokenizer_values.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/sentencepiece_model.hpp"

namespace sy::runtime::gguf {
namespace {

using Type = SentencePieceModel::Type;

std::int64_t id_or_none(const Header& header, std::string_view name, std::size_t num_tokens) {
    const std::optional<std::size_t> id = token_id(header, name, num_tokens);
    return id ? static_cast<std::int64_t>(*id) : -1;
}

bool flag_or(const Header& header, std::string_view name, bool otherwise) {
    const auto* const flag = value_of<bool>(header, name);
    return flag != nullptr ? *flag : otherwise;
}

std::vector<SentencePieceModel::Piece> pieces_of(const Header& header,
                                                 const std::vector<std::string>& texts) {
    const auto* const scores = array_of<float>(header, "tokenizer.ggml.scores");
    const auto* const types = array_of<std::int32_t>(header, "tokenizer.ggml.token_type");
    if (scores == nullptr || types == nullptr || scores->size() != texts.size() ||
        types->size() != texts.size())
        throw IoError("tokenizer.ggml.scores and token_type are not there, or do not fit the tokens");
    std::vector<SentencePieceModel::Piece> pieces;
    for (std::size_t id = 0; id < texts.size(); ++id) {
        const auto type = static_cast<Type>((*types)[id]);  // the same numbers
        if (type < Type::normal || type > Type::byte)
            throw IoError(concat("the token ", id, " is of the unknown type ", (*types)[id]));
        pieces.push_back({texts[id], (*scores)[id], type});
    }
    // What an export adds up to the size of the model.
    while (!pieces.empty() && pieces.back().type == Type::unused &&
           pieces.back().text == concat("[PAD", pieces.size() - 1, "]"))
        pieces.pop_back();
    return pieces;
}

/// The rules of the library as bytes, which other programs write as numbers with or without a sign.
std::string characters_map_of(const Header& header) {
    constexpr std::string_view kName = "tokenizer.ggml.precompiled_charsmap";
    if (const auto* const bytes = array_of<std::uint8_t>(header, kName))
        return {bytes->begin(), bytes->end()};
    if (const auto* const bytes = array_of<std::int8_t>(header, kName)) return {bytes->begin(), bytes->end()};
    if (header.find(kName) != nullptr) throw IoError(concat(kName, " is no array of bytes"));
    return {};
}

}  // namespace

TokenizerText read_sentencepiece(const Header& header) {
    const auto* const texts = array_of<std::string>(header, "tokenizer.ggml.tokens");
    const bool is_unigram = text_of(header, "tokenizer.ggml.model") == "t5";
    SentencePieceModel model;
    model.pieces = pieces_of(header, *texts);
    const std::size_t num_pieces = model.pieces.size();
    model.algorithm =
        is_unigram ? SentencePieceModel::Algorithm::unigram : SentencePieceModel::Algorithm::bpe;
    model.byte_fallback =
        std::ranges::find(model.pieces, Type::byte, &SentencePieceModel::Piece::type) != model.pieces.end();
    model.characters_map = characters_map_of(header);
    model.add_dummy_prefix = flag_or(header, "tokenizer.ggml.add_space_prefix", true);
    model.remove_extra_whitespaces = flag_or(header, "tokenizer.ggml.remove_extra_whitespaces", false);
    model.end_of_text = id_or_none(header, "tokenizer.ggml.eos_token_id", num_pieces);
    model.begin_of_text = id_or_none(header, "tokenizer.ggml.bos_token_id", num_pieces);
    // An export of a model without it writes the end, for llama.cpp would take the token 1.
    if (model.begin_of_text == model.end_of_text) model.begin_of_text = -1;
    model.padding = id_or_none(header, "tokenizer.ggml.padding_token_id", num_pieces);
    const auto num_unknown =
        std::ranges::count(model.pieces, Type::unknown, &SentencePieceModel::Piece::type);
    if (num_unknown != 1)
        throw IoError(concat(num_unknown, " tokens are for unknown characters, SentencePiece has one"));
    if (!is_unigram && (!model.characters_map.empty() || model.remove_extra_whitespaces))
        throw IoError(
            "texts are normalized by its precompiled_charsmap or remove_extra_whitespaces, which llama.cpp "
            "does not with tokenizer.ggml.model = llama");
    return {.file = is_unigram ? "spiece.model" : "tokenizer.model",
            .tokenizer = write_sentencepiece_model(model),
            .config = tokenizer_config(header, *texts, is_unigram ? "T5Tokenizer" : "LlamaTokenizer")};
}

}  // namespace sy::runtime::gguf
