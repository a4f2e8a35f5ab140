#include <algorithm>
#include <numeric>

#include "comm/collectives.hpp"
#include "kernels/core/decimal.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/philox.hpp"
#include "model/moe/capacity.hpp"
#include "model/moe/router/strategy.hpp"
#include "model/moe/selection.hpp"

namespace sy::model {
bool is_protected(const PassInfo& pass, index_t sequence, double fraction) {
    const RandomKey key = pass.random(0, RandomPurpose::protected_sequence);
    return static_cast<double>(uniform(key, static_cast<std::uint64_t>(sequence))) < fraction;
}

void detail::apply_device_budget(const CapacityInput& in, const MoeConfig& config, comm::Communicator& world,
                                 CapacityResult& result) {
    const auto expert_tk = host<const std::int32_t>(in.expert);
    const auto score = host_values<const float>(in.score);
    const auto num_groups = static_cast<std::size_t>(config.groups);
    const index_t group_size = config.experts / config.groups;
    const index_t top_k = expert_tk.cols;
    std::vector<std::int32_t> bin(result.kept.size(), -1);
    std::vector<index_t> counts(2 * num_groups, 0);
    const std::span<index_t> kept = std::span(counts).first(num_groups);
    const std::span<index_t> untouchable = std::span(counts).last(num_groups);
    for (index_t t = 0; t < expert_tk.rows; ++t) {
        const index_t sequence = (in.pass.batch.first_token + t) / in.pass.seq_len;
        const bool guarded = is_protected(in.pass, sequence, config.protected_fraction);
        for (index_t j = 0; j < top_k; ++j) {
            const auto i = static_cast<std::size_t>(t * top_k + j);
            if (result.kept[i] == 0) continue;
            const auto group = static_cast<std::size_t>(expert_tk(t, j) / group_size);
            ++kept[group];
            if (guarded) {
                ++untouchable[group];
            } else {
                bin[i] = static_cast<std::int32_t>(group);
            }
        }
    }
    comm::all_reduce(world, std::span<index_t>(counts));
    const index_t choices = std::accumulate(result.load.begin(), result.load.end(), index_t{0});
    const index_t budget = decimal_ceil(config.device_capacity, choices, config.groups);
    std::vector<index_t> places(num_groups);
    index_t num_dropped = 0;
    for (std::size_t group = 0; group < num_groups; ++group) {
        places[group] = std::max<index_t>(0, budget - untouchable[group]);
        num_dropped += std::max<index_t>(0, kept[group] - untouchable[group] - places[group]);
    }
    if (num_dropped == 0) return;
    const std::vector<std::uint8_t> won = select_best({bin, score, places}, &world);
    for (std::size_t i = 0; i < bin.size(); ++i) {
        if (bin[i] < 0 || won[i] != 0) continue;
        result.kept[i] = 0;
        result.reason[i] = DropReason::device;
    }
    result.num_dropped += num_dropped;
}

}  // namespace sy::model
