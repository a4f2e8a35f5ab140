#include "runtime/tokenizer/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "kernels/core/error.hpp"
#include "runtime/tokenizer/regex_syntax.hpp"

namespace sy::runtime {
namespace {

constexpr std::size_t kFirstStackBytes = std::size_t{32} << 10;
constexpr std::size_t kMostStackBytes = std::size_t{8} << 20;
constexpr std::size_t kMostPatternBytes = std::size_t{64} << 10;
constexpr std::uint32_t kMostHeapKib = 256U << 10;
/// A pattern that backtracks without end fails instead of hanging. Patterns of tokenizers take a few steps per character.
constexpr std::uint32_t kMostSteps = 50'000'000;

std::string message_of(int code) {
    std::array<PCRE2_UCHAR, 256> text{};
    if (pcre2_get_error_message(code, text.data(), text.size()) < 0) return concat("error ", code);
    return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) {
    return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

void RegexScratch::Release::operator()(pcre2_real_match_data_8* data) const noexcept {
    pcre2_match_data_free(data);
}

void RegexScratch::Release::operator()(pcre2_real_match_context_8* context) const noexcept {
    pcre2_match_context_free(context);
}

void RegexScratch::Release::operator()(pcre2_real_jit_stack_8* stack) const noexcept {
    pcre2_jit_stack_free(stack);
}

void Regex::Release::operator()(pcre2_real_code_8* code) const noexcept {
    pcre2_code_free(code);
}

RegexScratch::RegexScratch()
    : found_(pcre2_match_data_create(1, nullptr)),
      stack_(pcre2_jit_stack_create(kFirstStackBytes, kMostStackBytes, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
    if (!found_ || !context_) throw Error("regular expressions: there is no memory for a search");
    pcre2_set_match_limit(context_.get(), kMostSteps);
    pcre2_set_heap_limit(context_.get(), kMostHeapKib);
    if (stack_) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
}

Regex::Regex(const std::string& pattern) : pattern_(pattern) {
    const std::string translated = pcre2_pattern(pattern);
    int error = 0;
    PCRE2_SIZE place = 0;
    std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
        pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
    if (!context) throw Error("regular expressions: there is no memory for a pattern");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(context.get(), kMostPatternBytes);
    // In Ruby's syntax ^ and $ are at every line.
    code_.reset(pcre2_compile(units(translated), translated.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                              &error, &place, context.get()));
    if (!code_) {
        throw IoError(concat("the regular expression ", pattern, " does not compile: ", message_of(error),
                             " at byte ", place, " of ", translated));
    }
    // It fails where the system forbids memory that is both written and run; the interpreter then does the same.
    compiled_ = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE) == 0;
}

std::optional<Regex::Match> Regex::find(std::string_view text, std::size_t start,
                                        RegexScratch& scratch) const {
    pcre2_match_data* const found = scratch.found_.get();
    int result = PCRE2_ERROR_JIT_STACKLIMIT;
    if (compiled_ && scratch.stack_) {
        result = pcre2_jit_match(code_.get(), units(text), text.size(), start, PCRE2_NO_UTF_CHECK, found,
                                 scratch.context_.get());
    }
    // The interpreter keeps its state on the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
        result = pcre2_match(code_.get(), units(text), text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                             found, scratch.context_.get());
    }
    if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (result < 0) {
        throw IoError(concat("the regular expression ", pattern_, " failed at byte ", start, " of a text of ",
                             text.size(), " bytes: ", message_of(result), "; use a simpler one"));
    }
    const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(found);
    return Match{bounds[0], bounds[1]};
}

}  // namespace sy::runtime
