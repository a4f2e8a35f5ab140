#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// Two neighbouring tokens that become one; the rules of lower rank go first.
struct MergeRule {
    std::int32_t left = 0;
    std::int32_t right = 0;
    std::int32_t merged = 0;
};

/// What a word is made of before anything is merged.
enum class BaseSymbols { bytes, characters };
enum class IgnoreMerges { no, for_whole_words };

struct BpeRules {
    BaseSymbols base = BaseSymbols::bytes;
    IgnoreMerges ignore_merges = IgnoreMerges::no;
    /// The tokens that text can become, with the bytes that each stands for.
    std::unordered_map<std::string, std::int32_t> ids;
    std::vector<MergeRule> merges;  ///< in order of rank
    std::optional<std::int32_t> unknown;
    bool fuse_unknown = false;  ///< neighbouring unknown characters are one token
    std::optional<std::array<std::int32_t, 256>> byte_fallback;  ///< for characters without a token
};

/// Byte-pair encoding of single words.
///
/// @par Source  Sennrich, Haddow and Birch, arXiv:1508.07909; over bytes: Radford et al., "Language Models are
///              Unsupervised Multitask Learners", 2019
class BytePairEncoder {
  public:
    /// Working memory, and the words of late with their tokens. It serves one encoder and one thread at a time.
    class Scratch {
      public:
        Scratch() : slots_(kSlots) {}

      private:
        friend class BytePairEncoder;
        static constexpr std::size_t kSlots = std::size_t{1} << 15;
        static constexpr std::size_t kWordBytes = 30;
        static constexpr std::size_t kWordTokens = 8;
        /// One cache line. A word has one slot that it can be in, and displaces the word that was there.
        struct alignas(64) Slot {
            std::uint8_t num_bytes = 0;
            std::uint8_t num_tokens = 0;
            std::array<char, kWordBytes> bytes{};
            std::array<std::int32_t, kWordTokens> tokens{};
        };
        std::vector<Slot> slots_;
        std::vector<std::int32_t> symbols_;
        std::vector<std::uint64_t> pairs_;
        std::vector<std::int32_t> before_;
        std::vector<std::int32_t> after_;
    };

    /// @pre  with base bytes each of the 256 has a token
    explicit BytePairEncoder(BpeRules rules);

    /// Appends the tokens of a word. A byte that belongs to no UTF-8 character counts as a character of its own.
    /// @throws IoError for a character that has no token when there is no token for unknown ones either
    /// @par Cost  O(length log length) the first time, O(length) while the word is remembered
    void append(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const;

  private:
    /// rank << 32 | merged token; kNoMerge where two tokens do not merge.
    using Merge = std::uint64_t;
    static constexpr Merge kNoMerge = std::numeric_limits<Merge>::max();
    struct MergeSlot {
        std::uint64_t pair = kNoMerge;
        Merge merge = kNoMerge;
    };

    void encode(std::string_view word, Scratch& scratch) const;
    void set_characters(std::string_view word, std::vector<std::int32_t>& symbols) const;
    Merge merge_of(std::int32_t left, std::int32_t right) const;
    void merge_few(Scratch& scratch) const;
    void merge_many(Scratch& scratch) const;

    BpeRules rules_;
    std::array<std::int32_t, 256> byte_ids_{};
    std::vector<MergeSlot> table_;  ///< open addressing, a power of two
};

}  // namespace sy::runtime
