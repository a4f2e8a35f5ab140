#pragma once

#include <filesystem>

#include "comm/communicator.hpp"
#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime::detail {

/// Most bytes of a rank in one collective write: MPI counts in 31 bits.
inline constexpr index_t kSliceBytes = index_t{1} << 29;

/// Writes model.h5 with a dataset a tensor, all ranks into one file: together with MPI-IO where the world is MPI's, else
/// in turns. @return this rank's pieces; on rank 0 also the file
/// @param slice_bytes  larger pieces are written in several rounds
/// @throws IoError on every rank when any rank fails
/// @par Collective over `world`
Manifest write_single_file(const std::filesystem::path& folder, const std::vector<Piece>& pieces,
                           index_t step, comm::Communicator& world, index_t slice_bytes = kSliceBytes);

}  // namespace sy::runtime::detail
