#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/data/text_file.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

enum class Split { train, validation };

/// A text as bytes, cut into windows of seq_len + 1 tokens that overlap by one. The end of the text is for validation.
/// Sample g of the training split is window g mod N of a permutation drawn for epoch g / N: the order depends on
/// the seed alone, and any rank can look up any sample. Validation goes through its windows in order.
class Corpus {
  public:
    /// @param paths  one file, or several joined by commas, read one after the other
    /// @throws IoError when a file is missing, a folder, empty or unreadable (all of them at once), or when the text
    ///         is too short, saying how long it must be; ConfigError for an empty path
    Corpus(const std::string& paths, index_t seq_len, double validation_fraction, std::uint64_t seed);

    /// Appends the seq_len + 1 ids of sample `sample_idx` (>= 0, without limit) to `ids`.
    /// @throws IoError when a file has shrunk or cannot be read
    void append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const;
    /// Windows of a split: how many samples an epoch has.
    index_t num_windows(Split split) const {
        return split == Split::train ? train_windows_ : validation_windows_;
    }
    /// How often each byte occurs in the training split, validation left out.
    /// @param stop_wanted  asked now and then; a yes ends the counting, and the counts are those so far
    /// @return  [256]
    std::vector<index_t> count_bytes(const std::function<bool()>& stop_wanted) const;
    index_t num_bytes() const { return file_starts_.back(); }

    /// Bytes of each file, in order.
    std::vector<index_t> file_bytes() const;
    /// Fills `bytes` from byte `position` of the text on, across files. @throws IoError when they are not there any more
    void read(index_t position, std::span<std::byte> bytes) const;

  private:
    void check_length(const std::string& paths, double validation_fraction) const;

    std::vector<TextFile> files_;
    std::vector<index_t> file_starts_{0};  ///< position of each file in the text, then the end of the text
    index_t seq_len_;
    index_t train_windows_ = 0;
    index_t validation_windows_ = 0;
    index_t validation_start_ = 0;
    std::uint64_t seed_;
};

/// Position of `index` in a permutation of [0, size) that depends on (seed, epoch): a Feistel network with cycle
/// walking, so that nothing is stored.
/// @par Source  Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002
index_t permute_index(index_t index, index_t size, std::uint64_t seed, std::uint64_t epoch);

}  // namespace sy::runtime
