#include "runtime/tokenizer/sentencepiece_tokenizer.hpp"

#ifdef SY_HAS_SENTENCEPIECE

#include <sentencepiece_processor.h>

#include "runtime/tokenizer/tokenizer_file.hpp"

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
    const std::string bytes = read_tokenizer_file(path, "tokenizer.model");
    identity_ = tokenizer_identity("sentencepiece", bytes);
    auto library = std::make_unique<Library>();
    check(library->processor.LoadFromSerializedProto(bytes), path, "read it as a model of SentencePiece");
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

index_t SentencePieceTokenizer::num_bytes(std::int32_t id) const {
    const sentencepiece::SentencePieceProcessor& processor = library_->processor;
    if (id < 0 || id >= vocab_size() || processor.IsControl(id) || processor.IsUnknown(id)) return 0;
    if (processor.IsByte(id)) return 1;
    // A blank is written as U+2581, which has three bytes.
    constexpr std::string_view kBlank = "\u2581";
    const std::string& piece = processor.IdToPiece(id);
    auto count = static_cast<index_t>(piece.size());
    for (std::size_t place = piece.find(kBlank); place != std::string::npos;
         place = piece.find(kBlank, place + kBlank.size()))
        count -= static_cast<index_t>(kBlank.size()) - 1;
    return count;
}

std::optional<std::int32_t> SentencePieceTokenizer::end_of_text() const {
    const int id = library_->processor.eos_id();
    return id < 0 ? std::nullopt : std::optional<std::int32_t>(id);
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

index_t SentencePieceTokenizer::num_bytes(std::int32_t) const {
    refuse(path_);
}

std::optional<std::int32_t> SentencePieceTokenizer::end_of_text() const {
    refuse(path_);
}

}  // namespace sy::runtime

#endif
