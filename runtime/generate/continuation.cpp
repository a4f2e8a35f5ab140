#include "runtime/generate/continuation.hpp"

#include <algorithm>

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

/// More than any tokenizer looks back.
constexpr std::size_t kContextTokens = 16;

/// Bytes at the end of a text that may be the beginning of a character.
std::size_t unfinished_bytes(std::string_view text) {
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";
    // Decoders of SentencePiece put this for bytes that are no character yet.
    if (text.ends_with(kReplacement)) return kReplacement.size();
    for (std::size_t count = 1; count <= std::min<std::size_t>(3, text.size()); ++count) {
        const std::size_t place = text.size() - count;
        if (continues_character(text[place])) continue;
        const auto first = static_cast<unsigned char>(text[place]);
        const bool starts_longer = first >= 0xc2 && first <= 0xf4;
        return starts_longer && character_bytes(text, place) == 0 ? count : 0;
    }
    return 0;
}

/// Bytes at the end of a text with which a stop string may begin.
std::size_t stop_beginning(std::string_view text, const std::vector<std::string>& stops) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
        for (std::size_t count = std::min(stop.size() - 1, text.size()); count > longest; --count) {
            if (text.ends_with(std::string_view(stop).substr(0, count))) longest = count;
        }
    }
    return longest;
}

}  // namespace

Continuation::Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                           const std::vector<std::string>& stops)
    : tokenizer_(tokenizer), stops_(stops) {
    const std::span<const std::int32_t> last = prompt.last(std::min(prompt.size(), kContextTokens));
    ids_.assign(last.begin(), last.end());
    prompt_bytes_ = tokenizer_.decode(ids_).size();
}

bool Continuation::add(std::int32_t id) {
    ids_.push_back(id);
    const std::string all = tokenizer_.decode(ids_);
    text_ = all.substr(std::min(prompt_bytes_, all.size()));
    std::size_t cut = std::string::npos;
    for (const std::string& stop : stops_) cut = std::min(cut, text_.find(stop));
    if (cut == std::string::npos) return false;
    text_.resize(cut);
    stopped_ = true;
    return true;
}

std::size_t Continuation::num_settled() const {
    if (stopped_) return text_.size();
    // A stop string may begin before an unfinished character, or hold it.
    const std::size_t unfinished = unfinished_bytes(text_);
    const std::string_view whole = std::string_view(text_).substr(0, text_.size() - unfinished);
    return text_.size() - std::max(unfinished + stop_beginning(whole, stops_), stop_beginning(text_, stops_));
}

}  // namespace sy::runtime
