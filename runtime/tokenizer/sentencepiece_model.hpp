#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sy::runtime {

/// What a tokenizer.model says, for those who store it otherwise or make one; texts are encoded by the library. It is a
/// message of Protocol Buffers, of which these fields are read and all others skipped.
/// @par Source  SentencePiece, src/sentencepiece_model.proto
struct SentencePieceModel {
    enum class Algorithm { unigram = 1, bpe = 2, word = 3, character = 4 };
    enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
    struct Piece {
        std::string text;
        float score = 0.0F;
        Type type = Type::normal;
        bool operator==(const Piece&) const = default;
    };

    std::vector<Piece> pieces;  ///< by id
    Algorithm algorithm = Algorithm::unigram;
    bool byte_fallback = false;
    std::string
        characters_map;  ///< how texts are normalized, as the library compiles its rules; empty: not at all
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
    bool whitespace_as_suffix = false;
    std::int64_t begin_of_text = 1;  ///< ids; -1: there is none
    std::int64_t end_of_text = 2;
    std::int64_t padding = -1;

    bool operator==(const SentencePieceModel&) const = default;
};

/// @param name  of the file, for messages
/// @throws IoError where the bytes are no such message
SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name);

/// The inverse: a tokenizer.model with these fields, which gives the library the same ids.
std::string write_sentencepiece_model(const SentencePieceModel& model);

}  // namespace sy::runtime
