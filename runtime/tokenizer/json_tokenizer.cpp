#include "runtime/tokenizer/json_tokenizer.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/nfc.hpp"

namespace sy::runtime {
namespace {

/// Twenty times the largest files of today.
constexpr std::uintmax_t kMostBytes = std::uintmax_t{256} << 20;

std::string read_file(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        throw IoError(concat("tokenizer: ", path, " is not a file; name a tokenizer.json"));
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) throw IoError(concat("tokenizer: cannot read ", path, ": ", error.message()));
    if (size > kMostBytes)
        throw IoError(concat("tokenizer: ", path, " has ", size,
                             " bytes, more than a tokenizer.json ever has (", kMostBytes, ")"));
    std::string text(static_cast<std::size_t>(size), '\0');
    std::ifstream file(path, std::ios::binary);
    if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
        throw IoError(concat("tokenizer: cannot read ", path, ": ", std::strerror(errno)));
    return text;
}

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

JsonTokenizer::JsonTokenizer(const std::string& path) : JsonTokenizer(read_file(path), path) {}

JsonTokenizer::JsonTokenizer(std::string_view text, const std::string& name)
    : JsonTokenizer(read_tokenizer_json(text, name), name) {}

JsonTokenizer::JsonTokenizer(TokenizerJson file, const std::string& name)
    : name_(name),
      normalizer_(file.normalizer),
      pre_tokenizer_(std::move(file.steps)),
      encoder_(std::move(file.rules)),
      bytes_of_id_(std::move(file.bytes_of_id)),
      text_begin_(std::move(file.text_begin)),
      text_end_(std::move(file.text_end)) {
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

}  // namespace sy::runtime
