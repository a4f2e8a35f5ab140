#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/hdf5_file.hpp"

namespace sy::runtime::detail {

/// A shard being written: one dataset a piece, with the tensor's shape and the piece's place in it as attributes.
class ShardFile {
  public:
    ShardFile(const std::filesystem::path& folder, const std::string& name);
    void add(const Piece& piece);
    /// Closes and flushes to disk. @return the file, pieces and shapes
    Manifest finish();

  private:
    std::filesystem::path path_;
    Hdf5File file_;
    Manifest contents_;
};

/// What the manifest says of a piece in `file`, in a dataset.
PieceRecord record_of(const Piece& piece, const std::string& file, const std::string& dataset);

/// What the datasets of model.h5 show, by kind and tensor.
std::map<std::pair<Kind, std::string>, std::vector<VirtualPart>> virtual_parts(const Manifest& manifest);

/// Writes model.h5 over the shards of `manifest`: each tensor a virtual dataset of its whole shape; and lists it there.
void write_virtual_model(const std::filesystem::path& folder, Manifest& manifest);

}  // namespace sy::runtime::detail
