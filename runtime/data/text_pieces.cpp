#include "runtime/data/text_pieces.hpp"

#include <algorithm>

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kPieceBytes = index_t{1} << 20;
constexpr index_t kMostLineBytes = index_t{256} << 20;
constexpr index_t kMostPieceBytes = index_t{64} << 20;
constexpr std::size_t kContextBytes = 512;
constexpr int kMostTries = 64;

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r';
}

/// Whether the tokens around a place are the same together and apart.
bool can_cut(const Tokenizer& tokenizer, std::string_view text, std::size_t place) {
    std::size_t begin = place - std::min(place, kContextBytes);
    while (begin < place && continues_character(text[begin])) ++begin;
    std::size_t end = std::min(text.size(), place + kContextBytes);
    while (end > place && end < text.size() && continues_character(text[end])) --end;
    std::vector<std::int32_t> apart = tokenizer.encode(text.substr(begin, place - begin));
    const std::vector<std::int32_t> behind = tokenizer.encode(text.substr(place, end - place));
    apart.insert(apart.end(), behind.begin(), behind.end());
    return apart == tokenizer.encode(text.substr(begin, end - begin));
}

/// The last place that is a candidate and can be cut.
template <class IsCandidate>
std::optional<std::size_t> last_cut(const Tokenizer& tokenizer, std::string_view text,
                                    const IsCandidate& is_candidate) {
    int tries = 0;
    for (std::size_t place = text.size() - 1; place > 1 && tries < kMostTries; --place) {
        if (!is_candidate(place)) continue;
        if (can_cut(tokenizer, text, place)) return place;
        ++tries;
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::size_t> find_cut(const Tokenizer& tokenizer, std::string_view text) {
    if (text.size() < 3) return std::nullopt;
    const auto begins_line = [&](std::size_t place) {
        return text[place - 1] == '\n' && !is_space(text[place - 2]) && is_letter(text[place]);
    };
    const auto begins_word = [&](std::size_t place) {
        return text[place] == ' ' && is_letter(text[place - 1]) && place + 1 < text.size() &&
               is_letter(text[place + 1]);
    };
    const std::optional<std::size_t> line = last_cut(tokenizer, text, begins_line);
    return line ? line : last_cut(tokenizer, text, begins_word);
}

PieceReader::PieceReader(const std::string& path, InputKind kind, TextPlace place)
    : path_(path), kind_(kind), file_(path), place_(place) {
    if (place.offset > file_.num_bytes())
        throw IoError(concat(path, " has ", file_.num_bytes(), " bytes, fewer than were read before"));
}

void PieceReader::fill(std::string& text, index_t size) const {
    const auto wanted = static_cast<std::size_t>(std::min(size, file_.num_bytes() - place_.offset));
    const std::size_t had = text.size();
    if (wanted <= had) return;
    text.resize(wanted);
    file_.read(place_.offset + static_cast<index_t>(had),
               std::as_writable_bytes(std::span(text).subspan(had)));
}

std::size_t PieceReader::end_of_lines(std::string& text) const {
    const index_t left = file_.num_bytes() - place_.offset;
    for (index_t size = kPieceBytes;; size = std::min(2 * size, kMostLineBytes)) {
        const std::size_t had = text.size();
        fill(text, size);
        if (static_cast<index_t>(text.size()) == left) return text.size();
        const std::size_t line_end = text.find_last_of('\n');
        if (line_end != std::string::npos && line_end >= had) return line_end + 1;
        if (size == kMostLineBytes)
            throw IoError(
                concat(path_, ": line ", place_.line, " has more than ", kMostLineBytes,
                       " bytes, the most that a document of JSON lines may have, since it is held in "
                       "memory; split it"));
    }
}

std::size_t PieceReader::end_of_text(std::string& text, const Tokenizer& tokenizer) const {
    const index_t left = file_.num_bytes() - place_.offset;
    for (index_t size = kPieceBytes;; size *= 2) {
        fill(text, size);
        if (static_cast<index_t>(text.size()) == left) return text.size();
        if (const std::optional<std::size_t> cut = find_cut(tokenizer, text)) return *cut;
        if (size >= kMostPieceBytes)
            throw IoError(concat(
                path_, ": its ", left, " bytes from byte ", place_.offset,
                " on are too many for one piece, and in the first ", size,
                " no place was found at which they can be cut without changing tokens of ", tokenizer.name(),
                " (a new line or a blank before a letter); split the file into documents, or give "
                "them as JSON lines"));
    }
}

TextPiece PieceReader::next(const Tokenizer& tokenizer) {
    TextPiece piece;
    piece.begin = place_;
    const std::size_t size =
        kind_ == InputKind::json_lines ? end_of_lines(piece.text) : end_of_text(piece.text, tokenizer);
    piece.text.resize(size);
    place_.offset += static_cast<index_t>(size);
    place_.line += std::ranges::count(piece.text, '\n');
    piece.end = place_;
    piece.is_last = at_end();
    return piece;
}

}  // namespace sy::runtime
