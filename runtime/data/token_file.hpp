#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/text_file.hpp"

/// Files of token ids with the places at which documents begin; README.md describes the format.
namespace sy::runtime {

/// What a token file says about where its ids come from.
struct TokenFileSource {
    std::string tokenizer;                    ///< its identity: kind and checksum, not a path
    index_t vocab_size = 0;                   ///< every id is below it
    std::optional<std::int32_t> end_of_text;  ///< the id behind every document, where the tokenizer has one

    bool operator==(const TokenFileSource&) const = default;
};

/// A token file open for reading. Files are read with pread, not mapped: one that shrinks, or a disk that fails, ends in
/// a message and not in SIGBUS. Several threads may read at once.
///
/// Memory: 1/8192 of the file for checksums. A block of 64 KiB is checked when something in it is read for the first time.
class TokenFile {
  public:
    /// Checks the header and that its sizes are the file's before it allocates anything.
    /// @throws IoError saying what is wrong
    explicit TokenFile(const std::string& path);

    /// Whether a file begins as token files do. @throws IoError when it cannot be read
    static bool is_token_file(const std::string& path);

    index_t num_tokens() const { return num_tokens_; }
    index_t num_documents() const { return num_documents_; }
    /// Bytes of the text that the tokens stand for.
    index_t num_bytes() const { return num_bytes_; }
    const TokenFileSource& source() const { return source_; }
    index_t vocab_size() const { return source_.vocab_size; }
    const std::string& tokenizer() const { return source_.tokenizer; }
    /// It covers all of the file: two files with the same checksum hold the same tokens and documents.
    std::uint64_t checksum() const { return checksum_; }

    /// Fills `ids` with the tokens from `position` on.
    /// @pre  0 <= position and position + ids.size() <= num_tokens()
    /// @throws IoError when a block does not have its checksum, an id is not below vocab_size(), or the file is not there
    ///         any more
    void read(index_t position, std::span<std::int32_t> ids) const;

    /// The positions in [positions.begin, positions.end) at which a document begins, ascending. Token 0 always begins one.
    /// @throws IoError as read
    /// @par Cost  O(log num_documents()) short reads, and one for each 64 KiB of the result
    std::vector<index_t> document_starts(Range positions) const;

    /// Reads and checks everything. @return what is wrong, one sentence each; empty when the file is whole
    std::vector<std::string> verify() const;

  private:
    /// Reads where documents begin, from one of them on.
    void read_starts(index_t document_idx, std::span<index_t> starts) const;
    /// Calls `visit` with where each document begins, from one of them on, until it returns false.
    void each_start(index_t document_idx, const std::function<bool(index_t start)>& visit) const;
    void read_payload(index_t offset, std::span<std::byte> bytes) const;
    void check_block(index_t block_idx, std::span<std::byte> block) const;

    std::string path_;
    TextFile file_;
    TokenFileSource source_;
    index_t width_ = 0;  ///< bytes of a token
    index_t num_tokens_ = 0;
    index_t num_documents_ = 0;
    index_t num_bytes_ = 0;
    std::uint64_t checksum_ = 0;
    std::vector<std::uint64_t> block_checksums_;
    std::unique_ptr<std::atomic<bool>[]> checked_;  ///< of each block
};

/// Writes a token file as `.unfinished-NAME` beside it, in steps that survive a kill: a writer for the same file and the
/// same request continues from the last commit(), and the finished file is the same to the byte.
class TokenFileWriter {
  public:
    /// @param request  what the file is made of and how; what was left by another request is refused
    /// @throws IoError when the file exists, another process is writing it, or what is left of it is damaged
    TokenFileWriter(const std::filesystem::path& path, const TokenFileSource& source,
                    const std::string& request);
    ~TokenFileWriter();
    TokenFileWriter(const TokenFileWriter&) = delete;
    TokenFileWriter& operator=(const TokenFileWriter&) = delete;

    /// The text of the last commit(); empty when there was none.
    const std::string& position() const;
    index_t num_tokens() const;
    index_t num_documents() const;

    /// The next token begins a document.
    void begin_document();
    /// @param num_bytes  of the text that the ids stand for
    /// @throws IoError for an id that is not below the vocabulary's size
    void append(std::span<const std::int32_t> ids, index_t num_bytes);
    /// Flushes what was appended to disk. @param position  says where the request stands
    void commit(const std::string& position);
    /// Completes the file, flushes it, reads it back and gives it its name, which it takes from no other file.
    /// @throws IoError when there are no tokens; what was committed stays
    void finish();
    /// Removes what was written: the request cannot be fulfilled.
    void discard();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace sy::runtime
