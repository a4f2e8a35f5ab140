#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

enum class Split { train, validation };

/// A text as bytes, cut into windows of seq_len + 1 tokens that overlap by one. The end of the file is for validation.
/// Sample g of the training split is window g mod N of a permutation drawn for epoch g / N: the order depends on
/// the seed alone, and any rank can look up any sample.
class Corpus {
  public:
    /// @throws IoError when the file is missing, empty or too short, saying how long it must be
    Corpus(const std::string& path, index_t seq_len, double validation_fraction, std::uint64_t seed);

    /// Appends the seq_len + 1 ids of sample `sample_idx` (>= 0, without limit) to `ids`.
    void append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const;
    index_t num_windows(Split split) const {
        return split == Split::train ? train_windows_ : validation_windows_;
    }
    index_t num_bytes() const { return static_cast<index_t>(bytes_.size()); }

  private:
    std::vector<unsigned char> bytes_;
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
