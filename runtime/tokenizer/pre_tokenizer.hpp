#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/regex.hpp"

namespace sy::runtime {

/// What becomes of the matches of a pattern and of the text between them.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
/// Whether the pattern matches the delimiters, or what stands between them.
enum class PatternMeans { delimiters, words };
enum class PrefixSpace { keep_text, add };

/// One pre-tokenizer of a sequence.
struct PreTokenizerStep {
    std::optional<Regex> pattern;  ///< without one the text stays whole
    SplitBehavior behavior = SplitBehavior::isolated;
    PatternMeans means = PatternMeans::delimiters;
    PrefixSpace prefix_space = PrefixSpace::keep_text;  ///< before the pattern is looked for
};

/// Cuts text into the words within which tokens are merged, step after step.
class PreTokenizer {
  public:
    using Visit = std::function<void(std::string_view word)>;

    explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}
    /// Calls `visit` for each word, in order; a word lives as long as the call.
    /// @param text  well-formed UTF-8
    void split(std::string_view text, RegexScratch& scratch, const Visit& visit) const {
        split_from(0, text, scratch, visit);
    }

  private:
    struct Piece {
        std::string_view text;
        bool is_delimiter = false;
    };
    void split_from(std::size_t step_idx, std::string_view text, RegexScratch& scratch,
                    const Visit& visit) const;
    void each_piece(const PreTokenizerStep& step, std::string_view text, RegexScratch& scratch,
                    const std::function<void(Piece)>& visit) const;
    static std::vector<std::string_view> merged(const std::vector<Piece>& pieces, SplitBehavior behavior);

    std::vector<PreTokenizerStep> steps_;
};

/// Splits words as GPT-2 does; ByteLevel's own pattern.
extern const char* const kGpt2Pattern;

}  // namespace sy::runtime
