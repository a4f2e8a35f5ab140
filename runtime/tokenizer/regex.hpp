#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_jit_stack_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

/// Regular expressions with Unicode properties and lookahead. The library behind them is named in regex.cpp alone.
namespace sy::runtime {

/// What a search needs besides pattern and text. It serves any pattern, but one thread at a time.
class RegexScratch {
  public:
    /// @throws Error when there is no memory
    RegexScratch();

  private:
    friend class Regex;
    struct Release {
        void operator()(pcre2_real_match_data_8* data) const noexcept;
        void operator()(pcre2_real_match_context_8* context) const noexcept;
        void operator()(pcre2_real_jit_stack_8* stack) const noexcept;
    };
    std::unique_ptr<pcre2_real_match_data_8, Release> found_;
    std::unique_ptr<pcre2_real_jit_stack_8, Release> stack_;
    std::unique_ptr<pcre2_real_match_context_8, Release> context_;  ///< borrows the stack
};

class Regex {
  public:
    struct Match {
        std::size_t begin = 0;
        std::size_t end = 0;
    };

    /// @param pattern  in Oniguruma's Ruby syntax, as tokenizer.json writes it (see regex_syntax.hpp)
    /// @throws IoError when it is wrong or not supported, saying where
    explicit Regex(const std::string& pattern);

    /// The leftmost match in text[start, end). Lookahead and lookbehind see all of `text` and nothing outside it.
    /// @param text   well-formed UTF-8
    /// @param start  where a character begins, or the end of the text
    /// @throws IoError when the search takes more steps than a sensible pattern needs
    std::optional<Match> find(std::string_view text, std::size_t start, RegexScratch& scratch) const;

  private:
    struct Release {
        void operator()(pcre2_real_code_8* code) const noexcept;
    };
    std::string pattern_;
    std::unique_ptr<pcre2_real_code_8, Release> code_;
    bool compiled_ = false;  ///< to machine code
};

}  // namespace sy::runtime
