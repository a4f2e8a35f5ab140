#pragma once

#include <bit>
#include <span>

#include "runtime/data/token_file.hpp"

/// The layout of token files, for reader and writer alone: header, payload, block checksums, identity of the tokenizer.
/// The payload is the tokens, zeros up to a multiple of 8, and a number of 8 bytes for the start of each document.
namespace sy::runtime::detail {

static_assert(std::endian::native == std::endian::little, "token files are written as they lie in memory");

inline constexpr index_t kTokenBlockBytes = index_t{64} << 10;  ///< of payload, for one checksum
inline constexpr index_t kStartBytes = 8;
inline constexpr index_t kMostIdentityBytes = 4096;
/// As many as two-byte ids can tell apart.
inline constexpr index_t kNarrowVocabulary = index_t{1} << 16;

struct TokenFileHeader {
    char magic[8] = {'S', 'Y', 'T', 'O', 'K', 'E', 'N', 'S'};
    std::uint32_t version = 1;
    std::uint32_t width = 0;  ///< bytes of a token
    std::int64_t num_tokens = 0;
    std::int64_t num_documents = 0;
    std::int64_t vocab_size = 0;
    std::int64_t num_bytes = 0;       ///< of text
    std::int64_t end_of_text = -1;    ///< -1: documents have none
    std::int64_t identity_bytes = 0;  ///< of the tokenizer's identity
    std::uint64_t tail_xxh3 = 0;      ///< of block checksums and identity
    std::uint64_t header_xxh3 = 0;    ///< of all the above
};
static_assert(sizeof(TokenFileHeader) == 80);

inline constexpr index_t kHeaderBytes = sizeof(TokenFileHeader);

inline index_t payload_bytes(const TokenFileHeader& header) {
    return round_up(header.num_tokens * index_t{header.width}, kStartBytes) +
           header.num_documents * kStartBytes;
}
inline index_t num_blocks(const TokenFileHeader& header) {
    return ceil_div(payload_bytes(header), kTokenBlockBytes);
}
inline index_t file_bytes(const TokenFileHeader& header) {
    return kHeaderBytes + payload_bytes(header) + num_blocks(header) * kStartBytes + header.identity_bytes;
}

inline std::uint32_t token_width(index_t vocab_size) {
    return vocab_size <= kNarrowVocabulary ? 2 : 4;
}

/// XXH3-64 of a block of the payload, with its number as seed.
std::uint64_t token_block_checksum(std::span<const std::byte> block, index_t block_idx);
/// XXH3-64 of the header up to its own checksum.
std::uint64_t header_checksum(const TokenFileHeader& header);
/// XXH3-64 of what stands behind the payload.
std::uint64_t tail_checksum(std::span<const std::uint64_t> block_checksums, const std::string& identity);

}  // namespace sy::runtime::detail
