#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/data/data_files.hpp"
#include "runtime/data/data_path.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

enum class Split { train, validation };

/// The tokens of data.path, cut into windows of seq_len + 1 that overlap by one. The end of the tokens is for validation.
/// Sample g of the training split is window g mod N of a permutation drawn for epoch g / N: the order depends on
/// the seed alone, and any rank can look up any sample. Validation goes through its windows in order.
///
/// Files without weights are joined into one source. With weights each file is a source with an order and a validation end
/// of its own, and mixture_sample says from which a sample comes, in both splits.
class Corpus {
  public:
    /// Opens data.tokenizer and the files.
    /// @param num_threads  that tokenize texts; the tokens do not depend on it
    /// @throws IoError when a file cannot be used (all of them at once), or when a source is too short, saying how long it
    ///         must be; ConfigError for a data.path or data.tokenizer that says nothing
    explicit Corpus(const Config& config, int num_threads = 1);

    /// Appends the seq_len + 1 ids of sample `sample_idx` (>= 0, without limit) to `ids`.
    /// @throws IoError when a file has shrunk or cannot be read
    void append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const;
    /// Appends for each of the seq_len rows of a sample the row, counted within the sample, at which its document begins
    /// there: 0 for one that began before.
    void append_document_begins(Split split, index_t sample_idx, std::vector<index_t>& begins) const;
    /// Windows of a split, over all sources: without weights, how many samples an epoch has.
    index_t num_windows(Split split) const;
    /// How often each token occurs in the training split, validation left out; where sources have weights, in as many
    /// tokens of each as its weight says.
    /// @param stop_wanted  asked now and then; a yes ends the counting, and the counts are those so far
    /// @return  [tokenizer().vocab_size()]
    std::vector<index_t> count_tokens(const std::function<bool()>& stop_wanted) const;

    const Tokenizer& tokenizer() const { return *tokenizer_; }
    const DataFiles& files() const { return files_; }
    /// One for each file; empty where none was given.
    const std::vector<index_t>& weights() const { return weights_; }

  private:
    struct Source {
        std::size_t first_file = 0;
        std::vector<index_t> file_starts{0};  ///< position of each file, then the end
        index_t validation_start = 0;
        index_t train_windows = 0;
        index_t validation_windows = 0;

        index_t num_tokens() const { return file_starts.back(); }
        index_t num_windows(Split split) const {
            return split == Split::train ? train_windows : validation_windows;
        }
    };

    Corpus(const Config& config, const std::vector<WeightedPath>& paths, int num_threads);
    struct Window {
        const Source& source;
        index_t position = 0;  ///< of its first token in the source
    };
    Window find_window(Split split, index_t sample_idx) const;
    void add_source(const Config& config, const std::string& paths, Range files);
    void check_length(const Config& config, const std::string& paths, const Source& source) const;
    /// Fills `ids` from a token of a source on, across its files.
    void read(const Source& source, index_t position, std::span<std::int32_t> ids) const;
    /// The sum of `counts` and what source `source_idx` has, as far as it was counted.
    void count_source(std::size_t source_idx, const std::function<bool()>& stop_wanted,
                      std::vector<index_t>& counts) const;

    std::unique_ptr<Tokenizer> tokenizer_;
    DataFiles files_;
    std::vector<index_t> weights_;
    std::vector<Source> sources_;
    index_t seq_len_;
    std::uint64_t seed_;
};

/// Position of `index` in a permutation of [0, size) that depends on (seed, epoch, source): a Feistel network with cycle
/// walking, so that nothing is stored.
/// @par Source  Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002
index_t permute_index(index_t index, index_t size, std::uint64_t seed, std::uint64_t epoch,
                      std::size_t source = 0);

}  // namespace sy::runtime
