#pragma once

#include <algorithm>

#include "kernels/core/types.hpp"

/// How a message is cut for MPI, whose counts are ints. Full pieces come first; the last piece is always shorter than
/// piece_bytes and may be empty. So a message tells its own end, and ranks that disagree about its size always notice,
/// also when the sizes differ by whole pieces.
namespace sy::comm::detail {

constexpr index_t num_pieces(index_t message_bytes, index_t piece_bytes) {
    return message_bytes / piece_bytes + 1;
}

/// The bytes of the message that piece `piece_idx` carries.
constexpr Range piece_of(index_t message_bytes, index_t piece_bytes, index_t piece_idx) {
    const index_t begin = piece_idx * piece_bytes;
    return {begin, std::min(begin + piece_bytes, message_bytes)};
}

}  // namespace sy::comm::detail
