#include "runtime/data/token_file.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>

#include "runtime/data/token_file_format.hpp"

namespace sy::runtime {

namespace detail {

std::uint64_t token_block_checksum(std::span<const std::byte> block, index_t block_idx) {
    return XXH3_64bits_withSeed(block.data(), block.size(), static_cast<std::uint64_t>(block_idx));
}

std::uint64_t header_checksum(const TokenFileHeader& header) {
    return XXH3_64bits(&header, offsetof(TokenFileHeader, header_xxh3));
}

std::uint64_t tail_checksum(std::span<const std::uint64_t> block_checksums, const std::string& identity) {
    const std::uint64_t sums = XXH3_64bits(block_checksums.data(), block_checksums.size_bytes());
    return XXH3_64bits_withSeed(identity.data(), identity.size(), sums);
}

}  // namespace detail

namespace {

using detail::kHeaderBytes;
using detail::kTokenBlockBytes;
using detail::TokenFileHeader;

/// What a header may not say, whatever its checksum. Every size is bounded by the file's before it is multiplied.
std::vector<std::string> header_problems(const TokenFileHeader& header, index_t bytes) {
    std::vector<std::string> problems;
    constexpr index_t kMostIds = std::numeric_limits<std::int32_t>::max();
    if (header.vocab_size < 1 || header.vocab_size > kMostIds) {
        problems.push_back(
            concat("its vocabulary has ", header.vocab_size, " ids; 1 to ", kMostIds, " are possible"));
    } else if (header.width != detail::token_width(header.vocab_size)) {
        problems.push_back(concat("its tokens have ", header.width, " bytes; a vocabulary of ",
                                  header.vocab_size, " ids takes ", detail::token_width(header.vocab_size)));
    }
    if (header.end_of_text < -1 || header.end_of_text >= header.vocab_size)
        problems.push_back(concat("its end-of-text id ", header.end_of_text, " is not in the vocabulary"));
    if (header.num_bytes < 0)
        problems.push_back(concat("it stands for ", header.num_bytes, " bytes of text"));
    if (header.num_tokens < 1 || header.num_tokens > bytes || header.num_documents < 1 ||
        header.num_documents > header.num_tokens || header.identity_bytes < 0 ||
        header.identity_bytes > detail::kMostIdentityBytes) {
        problems.push_back(concat("its ", bytes, " bytes cannot hold ", header.num_tokens, " tokens in ",
                                  header.num_documents, " documents and ", header.identity_bytes,
                                  " bytes of the tokenizer's identity"));
    } else if (problems.empty() && detail::file_bytes(header) != bytes) {
        problems.push_back(concat("it has ", bytes, " bytes; its ", header.num_tokens, " tokens in ",
                                  header.num_documents, " documents take ", detail::file_bytes(header),
                                  ": it was cut short or added to"));
    }
    return problems;
}

TokenFileHeader read_header(const TextFile& file, const std::string& path) {
    TokenFileHeader header;
    const TokenFileHeader expected;
    if (file.num_bytes() < kHeaderBytes)
        throw IoError(
            concat(path, " has ", file.num_bytes(), " bytes, a token file more than ", kHeaderBytes));
    file.read(0, std::as_writable_bytes(std::span(&header, 1)));
    if (std::memcmp(header.magic, expected.magic, sizeof(header.magic)) != 0)
        throw IoError(concat(path, " is no token file; make one with switchyard data tokenize"));
    if (header.version != expected.version)
        throw IoError(concat(path, " is a token file of version ", header.version, ", this program reads ",
                             expected.version, "; make it anew with switchyard data tokenize"));
    if (header.header_xxh3 != detail::header_checksum(header))
        throw IoError(concat(path, ": its header does not have its checksum: it is damaged; make it anew"));
    std::string all;
    for (const std::string& problem : header_problems(header, file.num_bytes())) all += "\n  " + problem;
    if (!all.empty()) throw IoError(concat(path, " is no whole token file:", all));
    return header;
}

}  // namespace

bool TokenFile::is_token_file(const std::string& path) {
    const TextFile file(path);
    TokenFileHeader header;
    if (file.num_bytes() < index_t{sizeof(header.magic)}) return false;
    std::array<char, sizeof(header.magic)> begins{};
    file.read(0, std::as_writable_bytes(std::span(begins)));
    return std::memcmp(header.magic, begins.data(), begins.size()) == 0;
}

TokenFile::TokenFile(const std::string& path) : path_(path), file_(path) {
    const TokenFileHeader header = read_header(file_, path_);
    width_ = header.width;
    num_tokens_ = header.num_tokens;
    num_documents_ = header.num_documents;
    num_bytes_ = header.num_bytes;
    checksum_ = header.header_xxh3;
    source_.vocab_size = header.vocab_size;
    if (header.end_of_text >= 0) source_.end_of_text = static_cast<std::int32_t>(header.end_of_text);
    const auto blocks = static_cast<std::size_t>(detail::num_blocks(header));
    const index_t tail_begin = kHeaderBytes + detail::payload_bytes(header);
    block_checksums_.resize(blocks);
    file_.read(tail_begin, std::as_writable_bytes(std::span(block_checksums_)));
    source_.tokenizer.resize(static_cast<std::size_t>(header.identity_bytes));
    file_.read(tail_begin + detail::num_blocks(header) * index_t{sizeof(std::uint64_t)},
               std::as_writable_bytes(std::span(source_.tokenizer)));
    if (detail::tail_checksum(block_checksums_, source_.tokenizer) != header.tail_xxh3)
        throw IoError(concat(path_, ": its table of checksums is damaged; make the file anew"));
    checked_ = std::make_unique<std::atomic<bool>[]>(blocks);
}

void TokenFile::check_block(index_t block_idx, std::span<std::byte> block) const {
    file_.read(kHeaderBytes + block_idx * kTokenBlockBytes, block);
    const auto place = static_cast<std::size_t>(block_idx);
    if (detail::token_block_checksum(block, block_idx) != block_checksums_[place]) {
        const index_t begin = kHeaderBytes + block_idx * kTokenBlockBytes;
        throw IoError(concat(path_, ": bytes ", begin, " to ", begin + static_cast<index_t>(block.size()),
                             " do not have their checksum: the file is damaged; make it anew"));
    }
    checked_[place].store(true, std::memory_order_relaxed);
}

void TokenFile::read_payload(index_t offset, std::span<std::byte> bytes) const {
    const index_t payload =
        round_up(num_tokens_ * width_, detail::kStartBytes) + num_documents_ * detail::kStartBytes;
    std::vector<std::byte> block;
    while (!bytes.empty()) {
        const index_t block_idx = offset / kTokenBlockBytes;
        const index_t begin = block_idx * kTokenBlockBytes;
        const index_t end = std::min(begin + kTokenBlockBytes, payload);
        const std::span<std::byte> piece =
            bytes.first(std::min(bytes.size(), static_cast<std::size_t>(end - offset)));
        if (checked_[static_cast<std::size_t>(block_idx)].load(std::memory_order_relaxed)) {
            file_.read(kHeaderBytes + offset, piece);
        } else {
            block.resize(static_cast<std::size_t>(end - begin));
            check_block(block_idx, block);
            std::memcpy(piece.data(), block.data() + (offset - begin), piece.size());
        }
        bytes = bytes.subspan(piece.size());
        offset += static_cast<index_t>(piece.size());
    }
}

void TokenFile::read(index_t position, std::span<std::int32_t> ids) const {
    SY_REQUIRE(position >= 0 && position <= num_tokens_ - static_cast<index_t>(ids.size()), path_,
               ": tokens ", position, " to ", position + static_cast<index_t>(ids.size()), " of ",
               num_tokens_);
    // Narrow ids are read into the second half of the result, from which they are widened from the first one on.
    const std::span<std::byte> bytes =
        std::as_writable_bytes(ids).last(ids.size() * static_cast<std::size_t>(width_));
    read_payload(position * width_, bytes);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (width_ == 2) {
            std::uint16_t id = 0;
            std::memcpy(&id, bytes.data() + i * sizeof(id), sizeof(id));
            ids[i] = id;
        }
        if (ids[i] < 0 || ids[i] >= source_.vocab_size)
            throw IoError(concat(path_, ": token ", position + static_cast<index_t>(i), " is ", ids[i],
                                 ", which is not in its vocabulary of ", source_.vocab_size));
    }
}

void TokenFile::read_starts(index_t document_idx, std::span<index_t> starts) const {
    read_payload(round_up(num_tokens_ * width_, detail::kStartBytes) + document_idx * detail::kStartBytes,
                 std::as_writable_bytes(starts));
}

void TokenFile::each_start(index_t document_idx, const std::function<bool(index_t start)>& visit) const {
    constexpr index_t kStartsAtOnce = kTokenBlockBytes / detail::kStartBytes;
    std::vector<index_t> starts;
    for (; document_idx < num_documents_; document_idx += kStartsAtOnce) {
        starts.resize(static_cast<std::size_t>(std::min(kStartsAtOnce, num_documents_ - document_idx)));
        read_starts(document_idx, starts);
        for (const index_t start : starts)
            if (!visit(start)) return;
    }
}

std::vector<index_t> TokenFile::document_starts(Range positions) const {
    // The first document that begins at positions.begin or later.
    Range left{0, num_documents_};
    while (left.size() > 0) {
        const index_t middle = left.begin + left.size() / 2;
        index_t start = 0;
        read_starts(middle, std::span(&start, 1));
        if (start < positions.begin) {
            left.begin = middle + 1;
        } else {
            left.end = middle;
        }
    }
    std::vector<index_t> starts;
    each_start(left.begin, [&](index_t start) {
        if (start >= positions.end) return false;
        if (start < positions.begin || (!starts.empty() && start <= starts.back()))
            throw IoError(concat(path_, ": a document begins at token ", start,
                                 ", not behind the one before it; make the file anew"));
        starts.push_back(start);
        return true;
    });
    return starts;
}

std::vector<std::string> TokenFile::verify() const {
    std::vector<std::string> problems;
    const auto attempt = [&](const auto& body) {
        try {
            body();
        } catch (const IoError& error) {
            problems.emplace_back(error.what());
        }
    };
    std::vector<std::int32_t> ids(static_cast<std::size_t>(kTokenBlockBytes / width_));
    for (index_t position = 0; position < num_tokens_; position += static_cast<index_t>(ids.size())) {
        const auto count =
            static_cast<std::size_t>(std::min(static_cast<index_t>(ids.size()), num_tokens_ - position));
        attempt([&] { read(position, std::span(ids).first(count)); });
    }
    index_t before = -1;
    attempt([&] {
        each_start(0, [&](index_t start) {
            if (before < 0 ? start != 0 : start <= before || start >= num_tokens_)
                throw IoError(concat(path_, ": a document begins at token ", start, " of ", num_tokens_,
                                     ", the one before it at ", before, "; make the file anew"));
            before = start;
            return true;
        });
    });
    return problems;
}

}  // namespace sy::runtime
