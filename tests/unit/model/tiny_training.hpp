#pragma once

#include "comm/local/local_fabric.hpp"
#include "runtime/train/optimizer.hpp"
#include "tests/unit/model/tiny_model.hpp"

/// Training runs of tiny models on thread ranks, for tests that compare layouts.
namespace sy::test {

inline constexpr index_t kSequences = 8;

struct History {
    std::vector<double> loss;
    std::vector<double> norm;
    std::vector<std::uint64_t> hash;
    index_t num_dropped = 0;
};

inline History train(int ranks, int expert_parallel, NumericsMode numerics, const model::ModelConfig& config,
                     const model::MoeConfig& moe, index_t steps) {
    History history;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Rank rank(world, expert_parallel, numerics, config, moe);
        runtime::OptimizerConfig rule;
        rule.lr = 1e-2;
        rule.warmup_steps = 2;
        runtime::ShardedOptimizer optimizer(rule, rank.parameters, world, *rank.groups.replica_group,
                                            rank.session.context);
        rank.transformer.on_gradient_ready([&](model::ParameterId id) { optimizer.gradient_ready(id); });
        for (index_t step = 1; step <= steps; ++step) {
            const Range mine = part_of(kSequences, ranks, world.rank());
            const model::BatchInfo batch{mine.begin * config.seq_len, kSequences * config.seq_len, step, 0,
                                         1};
            const std::vector<std::int32_t> ids = tokens(step * kSequences + mine.begin, mine.size(), config);
            const model::PassResult pass = rank.transformer.train(ids, batch, rank.session.context);
            const runtime::ShardedOptimizer::Result result = optimizer.step(step, steps);
            SY_REQUIRE(result.applied, "step ", step, " was skipped");
            if (world.rank() != 0) continue;
            history.loss.push_back(pass.total);
            history.norm.push_back(result.gradient_norm);
            history.hash.push_back(pass.routing_hash);
            history.num_dropped += pass.num_dropped;
        }
        rank.groups.close();
    });
    return history;
}

}  // namespace sy::test
