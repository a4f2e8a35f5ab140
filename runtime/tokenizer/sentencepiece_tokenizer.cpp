#include "runtime/tokenizer/sentencepiece_tokenizer.hpp"

#ifdef SY_HAS_SENTENCEPIECE

#include <sentencepiece_processor.h>

#include <filesystem>

namespace sy::runtime {

struct SentencePieceTokenizer::Library {
    sentencepiece::SentencePieceProcessor processor;
};

namespace {

void check(const sentencepiece::util::Status& status, const std::string& path, const char* attempt) {
    if (!status.ok()) throw IoError(concat("tokenizer ", path, ": cannot ", attempt, ": ", status.message()));
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const std::string& path) : path_(path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        throw IoError(concat("tokenizer: ", path, " is not a file; name a tokenizer.model"));
    auto library = std::make_unique<Library>();
    check(library->processor.Load(path), path, "read it as a model of SentencePiece");
    library_ = std::move(library);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

index_t SentencePieceTokenizer::vocab_size() const {
    return library_->processor.GetPieceSize();
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    check(library_->processor.Encode(text, &ids), path_, "encode a text");
    return ids;
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
    for (const std::int32_t id : ids) {
        if (id < 0 || id >= vocab_size())
            throw ShapeError(concat("tokenizer ", path_, ": there is no token of the id ", id));
    }
    std::string text;
    check(library_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text), path_,
          "decode tokens");
    return text;
}

}  // namespace sy::runtime

#else

namespace sy::runtime {

struct SentencePieceTokenizer::Library {};

namespace {

[[noreturn]] void refuse(const std::string& path) {
    throw Error(
        concat("tokenizer: ", path,
               " needs SentencePiece, which this program was built without; install libsentencepiece-dev "
               "and configure again, or use the model's tokenizer.json"));
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const std::string& path) : path_(path) {
    refuse(path_);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

index_t SentencePieceTokenizer::vocab_size() const {
    refuse(path_);
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view) const {
    refuse(path_);
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t>) const {
    refuse(path_);
}

}  // namespace sy::runtime

#endif
