#include "model/moe/capacity.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {

CapacityResult apply_capacity(MatrixView<const std::int32_t> expert, index_t global_tokens,
                              const MoeConfig& config, comm::Communicator& world) {
    const auto num_experts = static_cast<std::size_t>(config.experts);
    const auto top_k = static_cast<std::size_t>(expert.cols);
    const auto num_choices = static_cast<std::size_t>(expert.rows) * top_k;
    CapacityResult result;
    result.kept.resize(num_choices);
    for (std::size_t i = 0; i < num_choices; ++i) {
        const auto j = static_cast<index_t>(i);
        result.kept[i] = expert(j / expert.cols, j % expert.cols) == kNoExpert ? 0 : 1;
    }
    if (config.capacity_factor <= 0.0) {
        // Without limits only loads matter; ranks may differ in K.
        result.load.assign(num_experts, 0);
        for (index_t t = 0; t < expert.rows; ++t) {
            for (const std::int32_t e : expert.row_span(t)) {
                if (e != kNoExpert) ++result.load[static_cast<std::size_t>(e)];
            }
        }
        comm::all_reduce(world, std::span<index_t>(result.load));
        return result;
    }
    std::vector<index_t> next(top_k * num_experts, 0);
    for (index_t t = 0; t < expert.rows; ++t) {
        for (std::size_t j = 0; j < top_k; ++j) {
            ++next[j * num_experts + static_cast<std::size_t>(expert(t, static_cast<index_t>(j)))];
        }
    }
    const std::vector<index_t> totals = comm::exscan(world, std::span<index_t>(next));
    result.load.assign(num_experts, 0);
    // Place of this rank's first choice of each kind: behind all earlier choice ranks, then behind the lower ranks.
    for (std::size_t j = 0; j < top_k; ++j) {
        for (std::size_t e = 0; e < num_experts; ++e) {
            next[j * num_experts + e] += result.load[e];
            result.load[e] += totals[j * num_experts + e];
        }
    }
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
