#include "runtime/tokenizer/json_tokenizer.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/nfc.hpp"
#include "runtime/tokenizer/tokenizer_file.hpp"

namespace sy::runtime {
namespace {

/// The end of the UTF-8 that begins at `place`.
std::size_t end_of_utf8(std::string_view text, std::size_t place) {
    while (place < text.size()) {
        std::uint64_t eight = 0;
        while (text.size() - place >= 8) {
            std::memcpy(&eight, text.data() + place, 8);
            if ((eight & 0x8080808080808080U) != 0) break;
            place += 8;
        }
        if (place == text.size()) break;
        const std::size_t length = character_bytes(text, place);
        if (length == 0) break;
        place += length;
    }
    return place;
}

/// The last token that the file puts behind a text, else the special token that published models call their end of text:
/// the file itself does not say which one that is.
std::optional<std::int32_t> find_end_of_text(const std::vector<std::int32_t>& text_end,
                                             const std::vector<AddedToken>& added) {
    if (!text_end.empty()) return text_end.back();
    for (const std::string_view name :
         {"<|endoftext|>", "<|end_of_text|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>", "<eos>"}) {
        const auto token = std::ranges::find_if(
            added, [name](const AddedToken& one) { return one.special && one.content == name; });
        if (token != added.end()) return token->id;
    }
    return std::nullopt;
}

}  // namespace

class JsonTokenizer::Loan {
  public:
    explicit Loan(const JsonTokenizer& owner) : owner_(owner) {
        {
            const std::lock_guard lock(owner_.mutex_);
            if (!owner_.idle_.empty()) {
                scratch_ = std::move(owner_.idle_.back());
                owner_.idle_.pop_back();
            }
        }
        if (scratch_) return;
        scratch_ = std::make_unique<Scratch>();
        // Giving it back must not fail.
        const std::lock_guard lock(owner_.mutex_);
        owner_.idle_.reserve(++owner_.num_scratches_);
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() {
        const std::lock_guard lock(owner_.mutex_);
        owner_.idle_.push_back(std::move(scratch_));
    }
    Scratch& get() { return *scratch_; }

  private:
    const JsonTokenizer& owner_;
    std::unique_ptr<Scratch> scratch_;
};

JsonTokenizer::JsonTokenizer(const std::string& path)
    : JsonTokenizer(read_tokenizer_file(path, "tokenizer.json"), path) {}

JsonTokenizer::JsonTokenizer(std::string_view text, const std::string& name)
    : JsonTokenizer(read_tokenizer_json(text, name), name, tokenizer_identity("bpe", text)) {}

JsonTokenizer::JsonTokenizer(TokenizerJson file, const std::string& name, std::string identity)
    : name_(name),
      identity_(std::move(identity)),
      normalizer_(file.normalizer),
      pre_tokenizer_(std::move(file.steps)),
      encoder_(std::move(file.rules)),
      bytes_of_id_(std::move(file.bytes_of_id)),
      text_begin_(std::move(file.text_begin)),
      text_end_(std::move(file.text_end)),
      end_of_text_(find_end_of_text(text_end_, file.added)) {
    for (const std::optional<std::string>& bytes : bytes_of_id_)
        num_bytes_.push_back(bytes ? static_cast<index_t>(bytes->size()) : 0);
    for (const AddedToken& token : file.added)
        if (token.special) num_bytes_[static_cast<std::size_t>(token.id)] = 0;
    std::string storage;
    for (AddedToken& token : file.added) {
        if (!token.normalized) {
            added_to_text_.add(token);
            continue;
        }
        if (normalizer_ == Normalizer::nfc)
            token.content = std::string(normalize_nfc(token.content, storage));
        added_to_normalized_.add(token);
    }
}

std::vector<std::int32_t> JsonTokenizer::encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size() / 3 + 8);
    Loan scratch(*this);
    for (std::size_t place = 0; place < text.size();) {
        const std::size_t end = end_of_utf8(text, place);
        if (end > place) append_utf8(text.substr(place, end - place), scratch.get(), ids);
        place = end;
        while (place < text.size() && character_bytes(text, place) == 0) ++place;
        encoder_.append(text.substr(end, place - end), scratch.get().words, ids);
    }
    return ids;
}

void JsonTokenizer::append_utf8(std::string_view text, Scratch& scratch,
                                std::vector<std::int32_t>& ids) const {
    added_to_text_.split(text, scratch.regex, [&](std::string_view part, std::int32_t id) {
        if (id >= 0) {
            ids.push_back(id);
        } else {
            append_plain(part, scratch, ids);
        }
    });
}

void JsonTokenizer::append_plain(std::string_view text, Scratch& scratch,
                                 std::vector<std::int32_t>& ids) const {
    if (normalizer_ == Normalizer::nfc) text = normalize_nfc(text, scratch.normalized);
    added_to_normalized_.split(text, scratch.regex, [&](std::string_view part, std::int32_t id) {
        if (id >= 0) {
            ids.push_back(id);
            return;
        }
        pre_tokenizer_.split(part, scratch.regex,
                             [&](std::string_view word) { encoder_.append(word, scratch.words, ids); });
    });
}

std::string JsonTokenizer::decode(std::span<const std::int32_t> ids) const {
    std::string text;
    for (const std::int32_t id : ids) {
        const auto place = static_cast<std::size_t>(id);
        if (id < 0 || place >= bytes_of_id_.size() || !bytes_of_id_[place])
            throw ShapeError(concat("tokenizer ", name_, ": there is no token of the id ", id));
        text += *bytes_of_id_[place];
    }
    return text;
}

index_t JsonTokenizer::num_bytes(std::int32_t id) const {
    return id >= 0 && id < vocab_size() ? num_bytes_[static_cast<std::size_t>(id)] : 0;
}

}  // namespace sy::runtime
