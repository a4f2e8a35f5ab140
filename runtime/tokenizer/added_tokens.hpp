#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tokenizer/regex.hpp"

namespace sy::runtime {

/// A token that is looked for in the text before it is cut into words.
struct AddedToken {
    std::int32_t id = 0;
    std::string content;
    bool special = false;      ///< marks structure and is no text of anyone
    bool single_word = false;  ///< only where no letter, digit or mark of a word touches it
    bool lstrip = false;       ///< takes the white space before it along
    bool rstrip = false;       ///< and that after it
    bool normalized = false;   ///< looked for in the normalized text
};

/// Finds added tokens, of those that begin at one place the longest.
class AddedTokenFinder {
  public:
    /// A stretch of text: an added token, or what lies between two (id -1).
    using Visit = std::function<void(std::string_view text, std::int32_t id)>;

    AddedTokenFinder();
    void add(const AddedToken& token);
    bool empty() const { return tokens_.empty(); }
    /// Calls `visit` for each part of `text` that is not empty, in order.
    void split(std::string_view text, RegexScratch& scratch, const Visit& visit) const;

  private:
    /// The token at text[begin...], nothing when there is none.
    const AddedToken* longest_at(std::string_view text, std::size_t begin) const;
    bool touches_word(std::string_view text, std::size_t begin, std::size_t end, RegexScratch& scratch) const;

    std::vector<AddedToken> tokens_;
    /// A trie over bytes: node * 256 + byte -> next node. The root is node 0.
    std::unordered_map<std::uint64_t, std::uint32_t> next_;
    std::vector<std::int32_t> token_of_{-1};  ///< of each node
    std::vector<bool> begins_ = std::vector<bool>(256, false);
    Regex word_before_;
    Regex word_after_;
    Regex space_before_;
    Regex space_after_;
};

}  // namespace sy::runtime
