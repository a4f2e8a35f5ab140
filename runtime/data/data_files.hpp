#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/text_file.hpp"
#include "runtime/data/token_file.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

/// The files of a run as tokens: texts or token files, not both. Of texts whose tokens are bytes, and of token files,
/// nothing is held in memory; other texts are tokenized when they are opened, each by itself, and held as ids.
class DataFiles {
  public:
    /// Larger texts are given as token files.
    static constexpr index_t kMostTokenizedBytes = index_t{256} << 20;

    /// @throws IoError when a file is missing, a folder, empty, damaged or unreadable, when texts and token files are mixed,
    ///         when a token file is of another tokenizer, or when texts to tokenize are too large: all at once
    DataFiles(const std::vector<std::string>& paths, const Tokenizer& tokenizer, int num_threads);

    std::size_t size() const { return num_tokens_.size(); }
    index_t num_tokens(std::size_t file) const { return num_tokens_[file]; }
    bool has_texts() const { return !texts_.empty(); }
    /// Fills `ids` from a token of a file on. @throws IoError when they cannot be read
    void read(std::size_t file, index_t position, std::span<std::int32_t> ids) const;
    /// Where documents begin within `positions` of a file. A text is one document.
    std::vector<index_t> document_starts(std::size_t file, Range positions) const;

    /// Bytes of each text, or of the text that each token file was made of.
    std::vector<index_t> file_bytes() const;
    /// The checksum of each token file. @pre  !has_texts()
    std::vector<std::uint64_t> token_file_checksums() const;
    /// Fills `bytes` from byte `position` of all texts on, as if they were one. @pre  has_texts()
    void read_text(index_t position, std::span<std::byte> bytes) const;

  private:
    void open_texts(const std::vector<std::string>& paths, std::vector<std::string>& problems);
    void open_token_files(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                          std::vector<std::string>& problems);
    void tokenize_texts(const std::vector<std::string>& paths, const Tokenizer& tokenizer, int num_threads);

    std::vector<TextFile> texts_;
    std::vector<TokenFile> token_files_;
    std::vector<std::vector<std::int32_t>>
        ids_;                          ///< of each text that was tokenized; empty where tokens are bytes
    std::vector<index_t> num_tokens_;  ///< of each file
};

}  // namespace sy::runtime
