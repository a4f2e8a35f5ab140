#pragma once

#include <algorithm>
#include <mutex>

#include "comm/local/local_fabric.hpp"
#include "runtime/train/optimizer.hpp"
#include "tests/unit/model/tiny_model.hpp"

/// Reproducible training of tiny models on ranks that are threads, with what must not depend on their number.
namespace sy::test {

struct History {
    std::vector<double> loss;
    std::vector<double> norm;
    std::vector<std::uint64_t> hash;
    model::DropLedger drops;  ///< of all ranks, sorted
    index_t num_dropped = 0;
};

inline History train_on_layout(int ranks, int expert_parallel, const model::ModelConfig& config,
                               const model::MoeConfig& moe, index_t steps) {
    constexpr index_t kSequences = 8;
    History history;
    std::mutex mutex;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Rank rank(world, expert_parallel, NumericsMode::reproducible, config, moe);
        runtime::OptimizerConfig rule;
        rule.lr = 1e-2;
        rule.warmup_steps = 2;
        runtime::ShardedOptimizer optimizer(rule, rank.parameters, world, rank.groups, rank.session.context);
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
        {
            const std::lock_guard lock(mutex);
            history.drops.insert(history.drops.end(), rank.drops.begin(), rank.drops.end());
        }
        rank.groups.close();
    });
    std::sort(history.drops.begin(), history.drops.end());
    return history;
}

}  // namespace sy::test
