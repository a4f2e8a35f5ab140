#pragma once

#include <filesystem>

#include "comm/communicator.hpp"
#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime::detail {

/// Writes model.h5 with a dataset a tensor: rank 0 makes the file, all ranks write their rows to their places in it and
/// read them back. @return this rank's pieces; on rank 0 also the file
/// @throws IoError on every rank when any rank fails
/// @par Collective over `world`
Manifest write_single_file(const std::filesystem::path& folder, const std::vector<Piece>& pieces,
                           index_t step, comm::Communicator& world);

}  // namespace sy::runtime::detail
