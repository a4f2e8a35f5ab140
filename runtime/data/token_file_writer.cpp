#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/data/token_file_format.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using detail::kHeaderBytes;
using detail::kTokenBlockBytes;
using detail::OutputFile;

constexpr index_t kMostStateBytes = index_t{16} << 20;

/// A file that grows at its end, in blocks with a checksum each.
class BlockFile {
  public:
    /// @param begin  where the first block stands
    BlockFile(const fs::path& path, index_t begin)
        : path_(path), file_(path, OutputFile::Mode::shared), begin_(begin) {
        block_.reserve(static_cast<std::size_t>(kTokenBlockBytes));
    }

    index_t bytes() const { return bytes_; }
    const std::vector<std::uint64_t>& checksums() const { return checksums_; }
    OutputFile& file() { return file_; }

    void append(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t count =
                std::min(bytes.size(), static_cast<std::size_t>(kTokenBlockBytes) - block_.size());
            block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
            bytes = bytes.subspan(count);
            bytes_ += static_cast<index_t>(count);
            if (static_cast<index_t>(block_.size()) == kTokenBlockBytes) end_block();
        }
    }

    /// Ends the last block, however long it is: nothing can be appended any more.
    void end_block() {
        if (block_.empty()) return;
        write_block();
        const std::uint64_t checksum = last_checksum();
        checksums_.push_back(checksum);
        sum_ += checksum;
        block_.clear();
    }

    /// Flushes all bytes to disk. @return the sum of the checksums of all blocks, the unfinished one included
    std::uint64_t flush() {
        if (!block_.empty()) write_block();
        file_.flush();
        return sum_ + (block_.empty() ? 0 : last_checksum());
    }

    /// Takes over what an earlier process has flushed, and cuts off what it wrote behind that.
    void take_over(index_t bytes, std::uint64_t sum) {
        {
            const detail::RegularFile file(path_);
            if (file.bytes() < begin_ + bytes)
                throw IoError(concat(path_.string(), " has ", file.bytes(), " bytes and had ", begin_ + bytes,
                                     " at least; remove what is left beside it, and begin anew"));
            std::vector<std::byte> block(static_cast<std::size_t>(kTokenBlockBytes));
            while (bytes_ < bytes) {
                const auto piece = std::span(block).first(
                    static_cast<std::size_t>(std::min(kTokenBlockBytes, bytes - bytes_)));
                file.read(begin_ + bytes_, piece);
                append_read(piece);
            }
        }
        if (sum_ + (block_.empty() ? 0 : last_checksum()) != sum)
            throw IoError(concat(path_.string(),
                                 " was altered since a killed process left it; remove it, and begin anew"));
        file_.resize(begin_ + bytes);
    }

    void close() { file_.close(); }

  private:
    index_t block_idx() const { return static_cast<index_t>(checksums_.size()); }
    std::uint64_t last_checksum() const { return detail::token_block_checksum(block_, block_idx()); }
    void write_block() { file_.write(begin_ + block_idx() * kTokenBlockBytes, block_); }
    void append_read(std::span<const std::byte> piece) {
        block_.assign(piece.begin(), piece.end());
        bytes_ += static_cast<index_t>(piece.size());
        if (static_cast<index_t>(block_.size()) < kTokenBlockBytes) return;
        checksums_.push_back(last_checksum());
        sum_ += checksums_.back();
        block_.clear();
    }

    fs::path path_;
    OutputFile file_;
    index_t begin_;
    index_t bytes_ = 0;
    std::vector<std::byte> block_;  ///< the unfinished one
    std::vector<std::uint64_t> checksums_;
    std::uint64_t sum_ = 0;  ///< of them
};

/// Holds a file for this process alone, and makes it where it is not there.
class HeldFile {
  public:
    explicit HeldFile(const fs::path& path)
        : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)) {
        if (descriptor_ < 0) throw IoError(concat("cannot make ", path.string(), ": ", std::strerror(errno)));
        if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
        const int reason = errno;
        ::close(descriptor_);
        throw IoError(
            concat(path.string(),
                   reason == EWOULDBLOCK ? " is being written by another process: " : " cannot be locked: ",
                   std::strerror(reason)));
    }
    ~HeldFile() { ::close(descriptor_); }
    HeldFile(const HeldFile&) = delete;
    HeldFile& operator=(const HeldFile&) = delete;

  private:
    int descriptor_;
};

fs::path beside(const fs::path& path, const char* suffix) {
    return path.parent_path() / concat(".unfinished-", path.filename().string(), suffix);
}

void remove_if_there(const fs::path& path) {
    std::error_code error;
    fs::remove(path, error);
    if (error) throw IoError(concat("cannot remove ", path.string(), ": ", error.message()));
}

fs::path refuse_existing(const fs::path& path) {
    if (fs::exists(fs::symlink_status(path)))
        throw IoError(concat(path.string(), " exists already and is not overwritten; give another name"));
    return path;
}

}  // namespace

struct TokenFileWriter::State {
    State(const fs::path& target, const TokenFileSource& its_source, const std::string& its_request)
        : path(refuse_existing(target)),
          unfinished(beside(target, "")),
          starts_path(beside(target, ".documents")),
          state_path(beside(target, ".state")),
          source(its_source),
          request(its_request),
          held(unfinished),
          // The other process may have finished between the two.
          held_starts((refuse_existing(target), starts_path)),
          tokens(unfinished, kHeaderBytes),
          starts(starts_path, 0) {}

    void take_over();
    void write_padding();
    void append_starts();

    fs::path path;
    fs::path unfinished;   ///< header, and tokens so far
    fs::path starts_path;  ///< where documents begin, so far
    fs::path state_path;   ///< how much of both is there, as JSON
    TokenFileSource source;
    std::string request;
    HeldFile held;
    HeldFile held_starts;
    BlockFile tokens;
    BlockFile starts;
    std::string position;
    index_t num_tokens = 0;
    index_t num_documents = 0;
    index_t num_bytes = 0;
    bool document_begins = false;
    std::vector<std::uint16_t> narrow;
};

void TokenFileWriter::State::take_over() {
    // A state that was about to be replaced does not count.
    remove_if_there(beside(path, ".state.new"));
    if (!fs::exists(fs::symlink_status(state_path))) {
        tokens.file().resize(kHeaderBytes);
        starts.file().resize(0);
        return;
    }
    try {
        const Json state = Json::parse(detail::read_regular_text(state_path, kMostStateBytes));
        if (state.at("request").as_string() != request) {
            throw IoError(concat("it is of another request:\n  ", state.at("request").as_string(),
                                 "\nand not of\n  ", request));
        }
        num_tokens = state.at("tokens").as_whole();
        num_documents = state.at("documents").as_whole();
        num_bytes = state.at("bytes").as_whole();
        position = state.at("position").as_string();
        if (num_tokens < 0 || num_documents < 0 || num_documents > num_tokens || num_bytes < 0 ||
            num_tokens > std::numeric_limits<index_t>::max() / 8)
            throw IoError("its counts are impossible");
        tokens.take_over(num_tokens * index_t{detail::token_width(source.vocab_size)},
                         state.at("tokens_xxh3").as_natural());
        starts.take_over(num_documents * detail::kStartBytes, state.at("documents_xxh3").as_natural());
    } catch (const IoError& error) {
        throw IoError(concat("cannot continue ", unfinished.string(), ", which was left unfinished: ",
                             error.what(), "\nGive another name, or remove ", unfinished.string(), "*"));
    }
}

TokenFileWriter::TokenFileWriter(const fs::path& path, const TokenFileSource& source,
                                 const std::string& request) {
    SY_REQUIRE(source.vocab_size >= 1 && source.vocab_size <= std::numeric_limits<std::int32_t>::max() &&
                   static_cast<index_t>(source.tokenizer.size()) <= detail::kMostIdentityBytes,
               "token file: a vocabulary of ", source.vocab_size, " of ", source.tokenizer);
    state_ = std::make_unique<State>(path, source, request);
    state_->take_over();
}

TokenFileWriter::~TokenFileWriter() = default;

const std::string& TokenFileWriter::position() const {
    return state_->position;
}

index_t TokenFileWriter::num_tokens() const {
    return state_->num_tokens;
}

index_t TokenFileWriter::num_documents() const {
    return state_->num_documents;
}

void TokenFileWriter::begin_document() {
    state_->document_begins = true;
}

void TokenFileWriter::append(std::span<const std::int32_t> ids, index_t num_bytes) {
    State& state = *state_;
    for (const std::int32_t id : ids) {
        if (id < 0 || id >= state.source.vocab_size)
            throw IoError(
                concat("the tokenizer gave the id ", id, ", its vocabulary has ", state.source.vocab_size));
    }
    state.num_bytes += num_bytes;
    if (ids.empty()) return;
    if (std::exchange(state.document_begins, false)) {
        state.starts.append(std::as_bytes(std::span(&state.num_tokens, 1)));
        ++state.num_documents;
    }
    state.num_tokens += static_cast<index_t>(ids.size());
    if (detail::token_width(state.source.vocab_size) == 4) {
        state.tokens.append(std::as_bytes(ids));
        return;
    }
    state.narrow.assign(ids.begin(), ids.end());
    state.tokens.append(std::as_bytes(std::span(std::as_const(state.narrow))));
}

void TokenFileWriter::commit(const std::string& position) {
    State& state = *state_;
    state.position = position;
    const std::uint64_t tokens_xxh3 = state.tokens.flush();
    const std::uint64_t documents_xxh3 = state.starts.flush();
    const Json text = Json::Object{{"request", state.request},         {"position", position},
                                   {"tokens", state.num_tokens},       {"tokens_xxh3", tokens_xxh3},
                                   {"documents", state.num_documents}, {"documents_xxh3", documents_xxh3},
                                   {"bytes", state.num_bytes}};
    const fs::path next = beside(state.path, ".state.new");
    detail::write_text(next, text.text());
    fs::rename(next, state.state_path);
    detail::flush_to_disk(next.has_parent_path() ? next.parent_path() : fs::path("."));
}

void TokenFileWriter::State::append_starts() {
    starts.flush();
    const detail::RegularFile file(starts_path);
    std::vector<std::byte> block(static_cast<std::size_t>(kTokenBlockBytes));
    for (index_t begin = 0; begin < starts.bytes(); begin += kTokenBlockBytes) {
        const auto piece = std::span(block).first(
            static_cast<std::size_t>(std::min(kTokenBlockBytes, starts.bytes() - begin)));
        file.read(begin, piece);
        tokens.append(piece);
    }
}

void TokenFileWriter::State::write_padding() {
    const std::array<std::byte, detail::kStartBytes> zeros{};
    const index_t padding = round_up(tokens.bytes(), detail::kStartBytes) - tokens.bytes();
    tokens.append(std::span(zeros).first(static_cast<std::size_t>(padding)));
}

void TokenFileWriter::finish() {
    State& state = *state_;
    if (state.num_tokens == 0)
        throw IoError(concat(state.path.string(), ": there is no token to write; the inputs are empty"));
    state.write_padding();
    state.append_starts();
    state.tokens.end_block();
    const std::vector<std::uint64_t>& checksums = state.tokens.checksums();
    detail::TokenFileHeader header;
    header.width = detail::token_width(state.source.vocab_size);
    header.num_tokens = state.num_tokens;
    header.num_documents = state.num_documents;
    header.vocab_size = state.source.vocab_size;
    header.num_bytes = state.num_bytes;
    header.end_of_text = state.source.end_of_text.value_or(-1);
    header.identity_bytes = static_cast<index_t>(state.source.tokenizer.size());
    header.tail_xxh3 = detail::tail_checksum(checksums, state.source.tokenizer);
    header.header_xxh3 = detail::header_checksum(header);
    OutputFile& file = state.tokens.file();
    const index_t tail = kHeaderBytes + detail::payload_bytes(header);
    file.write(tail, std::as_bytes(std::span(checksums)));
    file.write(tail + detail::num_blocks(header) * index_t{sizeof(std::uint64_t)},
               std::as_bytes(std::span(state.source.tokenizer)));
    file.write(0, std::as_bytes(std::span(&header, 1)));
    file.flush();
    state.tokens.close();
    const detail::RegularFile written(state.unfinished);
    written.forget_cached();
    const std::vector<std::string> problems = TokenFile(state.unfinished.string()).verify();
    if (!problems.empty())
        throw IoError(
            concat(problems[0], "\nIt was just written: look for errors of the disk in the system's log"));
    // A link does not take its name from another file.
    if (::link(state.unfinished.c_str(), state.path.c_str()) != 0)
        throw IoError(concat("link of ", state.unfinished.string(), " to ", state.path.string(),
                             " failed: ", std::strerror(errno)));
    discard();
    detail::flush_to_disk(state.path.has_parent_path() ? state.path.parent_path() : fs::path("."));
}

void TokenFileWriter::discard() {
    // Without a state the rest counts as nothing.
    for (const fs::path& path : {state_->state_path, state_->starts_path, state_->unfinished})
        remove_if_there(path);
}

}  // namespace sy::runtime
