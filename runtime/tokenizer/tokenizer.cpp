#include "runtime/tokenizer/tokenizer.hpp"

#include <filesystem>

#include "runtime/tokenizer/json_tokenizer.hpp"
#include "runtime/tokenizer/sentencepiece_tokenizer.hpp"
#include "runtime/tokenizer/tokenizer_file.hpp"

namespace sy::runtime {
namespace {

/// Every byte is its own token.
class ByteTokenizer final : public Tokenizer {
  public:
    std::string name() const override { return "bytes"; }
    std::string identity() const override { return "bytes"; }
    index_t vocab_size() const override { return kNumBytes; }

    std::vector<std::int32_t> encode(std::string_view text) const override {
        std::vector<std::int32_t> ids;
        ids.reserve(text.size());
        for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
        return ids;
    }

    std::string decode(std::span<const std::int32_t> ids) const override {
        std::string text;
        text.reserve(ids.size());
        for (const std::int32_t id : ids) {
            if (num_bytes(id) == 0) throw ShapeError(concat("bytes tokenizer: ", id, " is not a byte"));
            text.push_back(static_cast<char>(static_cast<unsigned char>(id)));
        }
        return text;
    }

    index_t num_bytes(std::int32_t id) const override { return id >= 0 && id < kNumBytes ? 1 : 0; }
    std::span<const std::int32_t> text_begin() const override { return {}; }
    std::optional<std::int32_t> end_of_text() const override { return std::nullopt; }

  private:
    static constexpr index_t kNumBytes = 256;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec) {
    if (spec == "bytes") return std::make_unique<ByteTokenizer>();
    std::error_code error;
    std::filesystem::path path = spec;
    if (std::filesystem::is_directory(path, error)) {
        const std::optional<std::filesystem::path> file = tokenizer_file_in(path);
        if (!file)
            throw IoError(
                concat("tokenizer: the folder ", spec,
                       " has neither a tokenizer.json nor a tokenizer.model or spiece.model; name a "
                       "file, or bytes"));
        path = *file;
    }
    if (path.extension() == ".json") return std::make_unique<JsonTokenizer>(path.string());
    if (path.extension() == ".model") return std::make_unique<SentencePieceTokenizer>(path.string());
    throw ConfigError(concat("tokenizer: '", spec,
                             "' is unknown; known are bytes, a tokenizer.json of Hugging Face's tokenizers "
                             "(*.json), a tokenizer.model of SentencePiece (*.model), and a folder with one "
                             "of these files"));
}

}  // namespace sy::runtime
