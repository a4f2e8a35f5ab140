#include "model/moe/capacity.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"

namespace sy::model {

CapacityResult apply_capacity(MatrixView<const std::int32_t> expert, index_t global_tokens,
                              const MoeConfig& config, comm::Communicator& world) {
    const auto num_experts = static_cast<std::size_t>(config.experts);
    const auto top_k = static_cast<std::size_t>(expert.cols);
    std::vector<index_t> next(top_k * num_experts, 0);
    for (index_t t = 0; t < expert.rows; ++t) {
        for (std::size_t j = 0; j < top_k; ++j) {
            ++next[j * num_experts + static_cast<std::size_t>(expert(t, static_cast<index_t>(j)))];
        }
    }
    const std::vector<index_t> totals = comm::exscan(world, std::span<index_t>(next));
    CapacityResult result;
    result.load.assign(num_experts, 0);
    // Place of this rank's first choice of each kind: behind all earlier choice ranks, then behind the lower ranks.
    for (std::size_t j = 0; j < top_k; ++j) {
        for (std::size_t e = 0; e < num_experts; ++e) {
            next[j * num_experts + e] += result.load[e];
            result.load[e] += totals[j * num_experts + e];
        }
    }
    result.kept.assign(static_cast<std::size_t>(expert.rows) * top_k, 1);
    if (config.capacity_factor <= 0.0) return result;
    const double share = config.capacity_factor * static_cast<double>(top_k) *
                         static_cast<double>(global_tokens) / static_cast<double>(num_experts);
    result.capacity = std::max(config.min_capacity, static_cast<index_t>(std::ceil(share)));
    for (std::size_t j = 0; j < top_k; ++j) {
        for (index_t t = 0; t < expert.rows; ++t) {
            const auto e = static_cast<std::size_t>(expert(t, static_cast<index_t>(j)));
            const bool fits = next[j * num_experts + e]++ < result.capacity;
            result.kept[static_cast<std::size_t>(t) * top_k + j] = fits ? 1 : 0;
        }
    }
    for (const index_t count : result.load)
        result.num_dropped += std::max<index_t>(0, count - result.capacity);
    return result;
}

}  // namespace sy::model
