#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/ordered_work.hpp"
#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"
#include "runtime/checkpoint/value_memory.hpp"

namespace sy::runtime::detail {

/// Values of a piece that is written.
struct PieceValues {
    std::span<const float> values;       ///< [rows, cols]; empty where all are zero
    std::uint64_t checksum = 0;          ///< row_checksum of them
    ValueMemory memory = ValueMemory();  ///< of the values, where nobody else has them
};

/// Writes a shard: one dataset a piece, with the tensor's shape and the piece's place in it as attributes; flushes it to
/// disk and reads it back. @return the file, pieces and shapes
/// @param pieces     without their values
/// @param values_of  gives the values of a piece, by its index; called once for each, as far ahead of their writing and in
///                   as many threads as `ahead` says
Manifest write_shard_file(const std::filesystem::path& folder, const std::string& name,
                          std::span<const Piece> pieces,
                          const std::function<PieceValues(std::size_t)>& values_of,
                          const AheadLimit& ahead = AheadLimit());

/// The values of a piece that has them, with their checksum.
PieceValues values_with_checksum(const Piece& piece);

/// What the datasets of model.h5 show, by kind and tensor.
std::map<std::pair<Kind, std::string>, std::vector<VirtualPart>> virtual_parts(const Manifest& manifest);

/// Writes model.h5 over the shards of `manifest`: each tensor a virtual dataset of its whole shape; and lists it there.
void write_virtual_model(const std::filesystem::path& folder, Manifest& manifest);

}  // namespace sy::runtime::detail
