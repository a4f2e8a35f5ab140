#include "runtime/tokenizer/added_tokens.hpp"

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

std::uint64_t edge(std::uint32_t node, char byte) {
    return std::uint64_t{node} * 256 + static_cast<unsigned char>(byte);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder()
    : word_before_("[\\w\\u200c\\u200d]\\z"),
      word_after_("\\A[\\w\\u200c\\u200d]"),
      space_before_("(?<!\\s)\\s+\\z"),
      space_after_("\\A\\s+") {}

void AddedTokenFinder::add(const AddedToken& token) {
    std::uint32_t node = 0;
    for (const char byte : token.content) {
        const auto [found, is_new] =
            next_.try_emplace(edge(node, byte), static_cast<std::uint32_t>(token_of_.size()));
        if (is_new) token_of_.push_back(-1);
        node = found->second;
    }
    token_of_[node] = static_cast<std::int32_t>(tokens_.size());
    begins_[static_cast<unsigned char>(token.content.front())] = true;
    tokens_.push_back(token);
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, std::size_t begin) const {
    std::int32_t best = -1;
    std::uint32_t node = 0;
    for (std::size_t place = begin; place < text.size(); ++place) {
        const auto found = next_.find(edge(node, text[place]));
        if (found == next_.end()) break;
        node = found->second;
        if (token_of_[node] >= 0) best = token_of_[node];
    }
    return best < 0 ? nullptr : &tokens_[static_cast<std::size_t>(best)];
}

bool AddedTokenFinder::touches_word(std::string_view text, std::size_t begin, std::size_t end,
                                    RegexScratch& scratch) const {
    // The last character alone, since a search for it from the front would look at all of the text.
    std::size_t last = begin;
    while (last > 0 && continues_character(text[--last])) {
    }
    return word_before_.find(text.substr(last, begin - last), 0, scratch) ||
           word_after_.find(text.substr(end), 0, scratch);
}

void AddedTokenFinder::split(std::string_view text, RegexScratch& scratch, const Visit& visit) const {
    std::size_t done = 0;
    std::size_t place = tokens_.empty() ? text.size() : 0;
    while (place < text.size()) {
        if (!begins_[static_cast<unsigned char>(text[place])]) {
            ++place;
            continue;
        }
        const AddedToken* const token = longest_at(text, place);
        if (token == nullptr) {
            ++place;
            continue;
        }
        std::size_t begin = place;
        std::size_t end = begin + token->content.size();
        place = end;
        if (token->single_word && touches_word(text, begin, end, scratch)) continue;
        // White space that the token before has taken is no token of its own.
        if (begin < done) continue;
        if (token->lstrip && begin > done) {
            const auto space = space_before_.find(text.substr(done, begin - done), 0, scratch);
            if (space) begin = done + space->begin;
        }
        if (token->rstrip) {
            const auto space = space_after_.find(text.substr(end), 0, scratch);
            if (space) end += space->end;
        }
        if (begin > done) visit(text.substr(done, begin - done), -1);
        visit(text.substr(begin, end - begin), token->id);
        done = end;
    }
    if (done < text.size()) visit(text.substr(done), -1);
}

}  // namespace sy::runtime
