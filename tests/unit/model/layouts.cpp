#include "tests/unit/model/layouts.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <mutex>

#include "comm/local/local_fabric.hpp"

namespace sy::test {

using namespace sy::model;

History train(Layout layout, const Training& training) {
    const ModelConfig& config = training.config;
    History history;
    std::mutex mutex;
    comm::LocalOptions options;
    options.ranks_per_node = layout.ranks_per_node;
    comm::LocalFabric(layout.ranks, options).run([&](comm::Communicator& world) {
        Rank rank(world, layout.expert_parallel, training.numerics, config, training.moe,
                  layout.ranks_per_node > 0 ? comm::ExchangeKind::hierarchical : comm::ExchangeKind::flat,
                  training.make_device ? training.make_device() : nullptr);
        runtime::OptimizerConfig rule;
        rule.lr = 1e-2;
        rule.warmup_steps = 2;
        runtime::ShardedOptimizer optimizer(rule, rank.parameters, world, rank.groups, rank.session.context);
        rank.transformer.on_gradient_ready([&](ParameterId id) { optimizer.gradient_ready(id); });
        // The last rank tells, so that nothing is taken for granted that only the first one knows.
        const bool tells = world.rank() == layout.ranks - 1;
        for (index_t step = 1; step <= training.steps; ++step) {
            const Range mine = part_of(kSequences, layout.ranks, world.rank());
            const BatchInfo batch{mine.begin * config.seq_len, kSequences * config.seq_len, step, 0, 1};
            const std::vector<std::int32_t> ids = tokens(step * kSequences + mine.begin, mine.size(), config);
            const PassResult pass = rank.transformer.train(ids, batch, rank.session.context);
            const runtime::ShardedOptimizer::Result result = optimizer.step(step, training.steps);
            SY_REQUIRE(result.applied, "step ", step, " was skipped");
            rank.transformer.finish_step(pass);
            if (training.after_step) training.after_step(rank, optimizer, step);
            if (!tells) continue;
            history.loss.push_back(pass.total);
            for (const NamedLoss& loss : pass.extra_losses) history.extra_losses.push_back(loss.value);
            history.norm.push_back(result.gradient_norm);
            history.hash.push_back(pass.routing_hash);
            history.num_dropped += pass.num_dropped;
        }
        if (tells) history.state = rank.transformer.router_state();
        {
            const std::lock_guard lock(mutex);
            history.drops.insert(history.drops.end(), rank.drops.begin(), rank.drops.end());
        }
        rank.groups.close();
    });
    std::sort(history.drops.begin(), history.drops.end());
    return history;
}

History check_layouts(const Training& training) {
    const History reference = train({}, training);
    CHECK(reference.loss.back() != reference.loss.front());
    for (const Layout& layout : kLayouts) {
        INFO(layout);
        const History other = train(layout, training);
        CHECK(other.loss == reference.loss);
        CHECK(other.extra_losses == reference.extra_losses);
        CHECK(other.norm == reference.norm);
        CHECK(other.hash == reference.hash);
        CHECK(other.num_dropped == reference.num_dropped);
        CHECK(other.drops == reference.drops);
        CHECK(other.state == reference.state);
    }
    return reference;
}

}  // namespace sy::test
