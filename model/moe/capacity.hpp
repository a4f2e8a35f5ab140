#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"

namespace sy::model {

/// Which choices get a slot, and the global counts behind it. A function of the global batch alone.
struct CapacityResult {
    std::vector<std::uint8_t> kept;  ///< [T, K]
    std::vector<index_t> load;       ///< [E] choices over all ranks, before drops
    index_t capacity = 0;            ///< slots of an expert; 0: no limit
    index_t num_dropped = 0;         ///< over all ranks
};

/// Slots in the order of GShard: all first choices in global token order, then all second choices, ...
/// C = max(min_capacity, ceil(capacity_factor * K * T_global / E)), or no limit when the factor is 0.
/// @param expert         [T, K] this rank's choices; ranks hold ascending token ranges
/// @param global_tokens  T over all ranks
/// @par Collective over `world`
/// @par Source  Lepikhin et al., GShard, arXiv:2006.16668
CapacityResult apply_capacity(MatrixView<const std::int32_t> expert, index_t global_tokens,
                              const MoeConfig& config, comm::Communicator& world);

}  // namespace sy::model
