#include "runtime/tokenizer/pre_tokenizer.hpp"

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

/// Two parts of one text that follow each other, as one.
std::string_view join(std::string_view first, std::string_view second) {
    return {first.data(), first.size() + second.size()};
}

}  // namespace

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void PreTokenizer::each_piece(const PreTokenizerStep& step, std::string_view text, RegexScratch& scratch,
                              const std::function<void(Piece)>& visit) const {
    const bool matches_are_delimiters = step.means == PatternMeans::delimiters;
    std::size_t done = 0;
    std::size_t start = 0;
    while (start <= text.size()) {
        const std::optional<Regex::Match> match = step.pattern->find(text, start, scratch);
        if (!match) break;
        if (match->end == match->begin) {
            // An empty match cuts nothing off; the search goes on behind the next character.
            start = match->end + 1;
            while (start < text.size() && continues_character(text[start])) ++start;
            if (match->begin > done) visit({text.substr(done, match->begin - done), !matches_are_delimiters});
            done = match->begin;
            continue;
        }
        if (match->begin > done) visit({text.substr(done, match->begin - done), !matches_are_delimiters});
        visit({text.substr(match->begin, match->end - match->begin), matches_are_delimiters});
        start = done = match->end;
    }
    if (done < text.size()) visit({text.substr(done), !matches_are_delimiters});
}

std::vector<std::string_view> PreTokenizer::merged(const std::vector<Piece>& pieces, SplitBehavior behavior) {
    std::vector<std::string_view> words;
    if (behavior == SplitBehavior::merged_with_next) {
        // A delimiter goes to what follows it, unless that is a delimiter too.
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            const bool goes_on = i > 0 && pieces[i - 1].is_delimiter && !pieces[i].is_delimiter;
            if (goes_on) {
                words.back() = join(words.back(), pieces[i].text);
            } else {
                words.push_back(pieces[i].text);
            }
        }
        return words;
    }
    bool after_delimiter = false;
    for (const Piece& piece : pieces) {
        const bool joins = behavior == SplitBehavior::contiguous ? piece.is_delimiter == after_delimiter
                                                                 : piece.is_delimiter && !after_delimiter;
        if (joins && !words.empty()) {
            words.back() = join(words.back(), piece.text);
        } else {
            words.push_back(piece.text);
        }
        after_delimiter = piece.is_delimiter;
    }
    return words;
}

void PreTokenizer::split_from(std::size_t step_idx, std::string_view text, RegexScratch& scratch,
                              const Visit& visit) const {
    if (text.empty()) return;
    if (step_idx == steps_.size()) {
        visit(text);
        return;
    }
    const PreTokenizerStep& step = steps_[step_idx];
    std::string prefixed;
    if (step.prefix_space == PrefixSpace::add && text.front() != ' ') {
        prefixed = " ";
        prefixed += text;
        text = prefixed;
    }
    if (!step.pattern) {
        split_from(step_idx + 1, text, scratch, visit);
        return;
    }
    if (step.behavior == SplitBehavior::isolated || step.behavior == SplitBehavior::removed) {
        each_piece(step, text, scratch, [&](Piece piece) {
            if (step.behavior == SplitBehavior::isolated || !piece.is_delimiter)
                split_from(step_idx + 1, piece.text, scratch, visit);
        });
        return;
    }
    std::vector<Piece> pieces;
    each_piece(step, text, scratch, [&](Piece piece) { pieces.push_back(piece); });
    for (const std::string_view word : merged(pieces, step.behavior))
        split_from(step_idx + 1, word, scratch, visit);
}

}  // namespace sy::runtime
