#include "runtime/train/rebalance.hpp"

#include "comm/exchange/placement_plan.hpp"

namespace sy::runtime {
namespace {

comm::PlacementRules rules_of(const Config& config) {
    comm::PlacementRules rules;
    rules.spare_experts = config.parallel.spare_experts;
    // Tokens that may reach few groups cross fewer nodes when groups stay together.
    const model::MoeConfig& moe = config.moe;
    if (moe.group_limit > 0 && moe.groups > 0 && moe.experts % moe.groups == 0) rules.groups = moe.groups;
    return rules;
}

}  // namespace

void Rebalancer::count(const model::PassResult& step) {
    for (const model::LayerResult& layer : step.layers) {
        std::vector<index_t>& load = load_[layer.layer];
        load.resize(layer.load.size(), 0);
        for (std::size_t expert = 0; expert < load.size(); ++expert) load[expert] += layer.load[expert];
    }
}

bool Rebalancer::due(index_t step) const {
    const Config& config = session_.config();
    const index_t every = config.parallel.rebalance_every;
    return config.parallel.placement == PlacementRule::balanced && every > 0 && step % every == 0 &&
           step < config.train.steps;
}

PlacementRecord Rebalancer::rebalance(index_t step) {
    const double start = steady_seconds();
    const comm::Placements& before = session_.placements();
    // All expert-parallel groups have the same placements: the nodes of the first stand for those of all.
    const auto nodes = comm::PerRankSpan<const int>(session_.topology().node_of_rank)
                           .part({0, session_.grid().expert_parallel});
    PlacementRecord record;
    record.step = step;
    comm::Placements after;
    for (const auto& [layer, previous] : before) {
        std::vector<index_t>& load = load_[layer];
        load.resize(static_cast<std::size_t>(previous.num_experts()), 0);
        const comm::Placement next = comm::plan_placement(load, nodes, previous, rules_of(session_.config()));
        record.add({layer, comm::num_moved(previous, next), next.num_shadows(),
                    comm::rank_imbalance(load, previous), comm::rank_imbalance(load, next)});
        after.emplace(layer, next);
    }
    load_.clear();
    if (after != before) session_.replace_experts(std::move(after));
    record.seconds = steady_seconds() - start;
    return record;
}

}  // namespace sy::runtime
