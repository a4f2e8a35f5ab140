#include "runtime/tokenizer/tokenizer.hpp"

#include "runtime/data/config.hpp"

namespace sy::runtime {
namespace {

/// Every byte is its own token.
class ByteTokenizer final : public Tokenizer {
  public:
    std::string name() const override { return "bytes"; }
    index_t vocab_size() const override { return 256; }

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
            if (id < 0 || id > 255) throw ShapeError(concat("bytes tokenizer: ", id, " is not a byte"));
            text.push_back(static_cast<char>(static_cast<unsigned char>(id)));
        }
        return text;
    }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
    if (name == "bytes") return std::make_unique<ByteTokenizer>();
    std::string known;
    for (const char* const one : kTokenizerNames) known += concat(known.empty() ? "" : ", ", one);
    throw ConfigError(concat("data.tokenizer = ", name, " is unknown; known: ", known));
}

}  // namespace sy::runtime
