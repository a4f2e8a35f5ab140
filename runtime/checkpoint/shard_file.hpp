#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"

namespace sy::runtime::detail {

/// Writes a shard: one dataset a piece, with the tensor's shape and the piece's place in it as attributes; flushes it to
/// disk and reads it back. @return the file, pieces and shapes
/// @param pieces     without their values
/// @param values_of  gives the values of a piece, by its index, valid until the next call; called once for each
Manifest write_shard_file(const std::filesystem::path& folder, const std::string& name,
                          std::span<const Piece> pieces,
                          const std::function<std::span<const float>(std::size_t)>& values_of);

/// What the manifest says of a piece in `file`, in a dataset.
PieceRecord record_of(const Piece& piece, const std::string& file, const std::string& dataset);

/// What the datasets of model.h5 show, by kind and tensor.
std::map<std::pair<Kind, std::string>, std::vector<VirtualPart>> virtual_parts(const Manifest& manifest);

/// Writes model.h5 over the shards of `manifest`: each tensor a virtual dataset of its whole shape; and lists it there.
void write_virtual_model(const std::filesystem::path& folder, Manifest& manifest);

}  // namespace sy::runtime::detail
