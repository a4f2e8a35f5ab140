#include "runtime/sim/recorded.hpp"

#include <algorithm>

#include "runtime/train/routing_trace_file.hpp"

namespace sy::runtime::sim {

RecordedRouting::RecordedRouting(const std::filesystem::path& trace, index_t layer) {
    RoutingTrace whole = read_routing_trace(trace);
    experts_ = whole.experts;
    const auto found = std::ranges::find_if(whole.mixtures, [&](const model::RoutingRecord& record) {
        return layer == -1 || record.layer == layer;
    });
    if (found == whole.mixtures.end() || found->num_tokens == 0)
        throw ConfigError(concat(trace.string(), " has no tokens of layer ", layer, "; its first layer is ",
                                 whole.mixtures.front().layer));
    record_ = std::move(*found);
}

RankRouting RecordedRouting::of_rank(int rank, index_t tokens) const {
    RankRouting routing(tokens, record_.top_k);
    std::vector<float> weights;
    std::vector<std::uint8_t> kept;
    for (index_t t = 0; t < tokens; ++t) {
        const index_t token = (rank * tokens + t) % record_.num_tokens;
        for (index_t j = 0; j < record_.top_k; ++j) {
            const auto place = static_cast<std::size_t>(token * record_.top_k + j);
            routing.expert(t, j) = record_.expert[place];
            weights.push_back(record_.weight[place]);
            kept.push_back(record_.kept[place]);
        }
    }
    routing.set_weights(weights, kept);
    return routing;
}

}  // namespace sy::runtime::sim
