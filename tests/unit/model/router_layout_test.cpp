// Whole tiny models with each rule: losses, routing and biases do not show the layout.
#include <catch2/catch.hpp>

#include <map>

#include "comm/local/local_fabric.hpp"
#include "runtime/train/optimizer.hpp"
#include "tests/unit/model/tiny_model.hpp"

using namespace sy;
using namespace sy::model;
using test::Rank;

namespace {

constexpr index_t kSequences = 8;
constexpr index_t kSteps = 5;

struct History {
    std::vector<double> loss;
    std::vector<std::uint64_t> hash;
    std::map<std::string, std::vector<double>> state;  ///< of the last rank
};

History train(int ranks, int expert_parallel, const MoeConfig& moe) {
    History history;
    const ModelConfig config = test::tiny_model();
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Rank rank(world, expert_parallel, NumericsMode::reproducible, config, moe);
        runtime::OptimizerConfig rule;
        rule.lr = 1e-2;
        rule.warmup_steps = 2;
        runtime::ShardedOptimizer optimizer(rule, rank.parameters, world, rank.groups, rank.session.context);
        rank.transformer.on_gradient_ready([&](ParameterId id) { optimizer.gradient_ready(id); });
        for (index_t step = 1; step <= kSteps; ++step) {
            const Range mine = part_of(kSequences, ranks, world.rank());
            const BatchInfo batch{mine.begin * config.seq_len, kSequences * config.seq_len, step, 0, 1};
            const std::vector<std::int32_t> ids =
                test::tokens(step * kSequences + mine.begin, mine.size(), config);
            const PassResult pass = rank.transformer.train(ids, batch, rank.session.context);
            SY_REQUIRE(optimizer.step(step, kSteps).applied, "step ", step, " was skipped");
            rank.transformer.finish_step(pass);
            if (world.rank() != ranks - 1) continue;
            history.loss.push_back(pass.total);
            for (const NamedLoss& loss : pass.extra_losses) history.loss.push_back(loss.value);
            history.hash.push_back(pass.routing_hash);
        }
        if (world.rank() == ranks - 1) history.state = rank.transformer.router_state();
        rank.groups.close();
    });
    return history;
}

MoeConfig no_losses() {
    MoeConfig moe = test::tiny_moe();
    moe.layers = "all";
    moe.experts = 8;
    moe.top_k = 4;
    moe.groups = 4;
    moe.group_limit = 2;
    moe.balance.switch_loss = 0.0;
    moe.balance.z_loss = 0.0;
    return moe;
}

void check_layouts(const MoeConfig& moe) {
    const History reference = train(1, 1, moe);
    REQUIRE(reference.loss.front() != reference.loss.back());
    for (const auto& [ranks, expert_parallel] : {std::pair{2, 2}, {3, 3}, {4, 2}, {8, 8}, {8, 1}}) {
        INFO(ranks << " ranks, expert-parallel " << expert_parallel);
        const History other = train(ranks, expert_parallel, moe);
        CHECK(other.loss == reference.loss);
        CHECK(other.hash == reference.hash);
        CHECK(other.state == reference.state);
    }
}

}  // namespace

TEST_CASE("layout: DeepSeek-V3's router trains to the same bits, biases included, on every layout",
          "[unit]") {
    MoeConfig moe = no_losses();
    moe.router = "group_limited";
    moe.score = Score::sigmoid;
    moe.group_score = GroupScore::top_sum;
    moe.routed_scale = 2.5;
    moe.balance.bias_rate = 0.01;
    moe.balance.sequence_loss = 0.1;
    const History history = train(1, 1, moe);
    REQUIRE(history.state.size() == 2);
    for (const auto& [name, bias] : history.state) {
        INFO(name);
        CHECK(std::ranges::any_of(bias, [](double value) { return value > 0.0; }));
        CHECK(std::ranges::any_of(bias, [](double value) { return value < 0.0; }));
    }
    check_layouts(moe);
}

TEST_CASE("layout: DeepSeek-V2's router and the importance loss train to the same bits on every layout",
          "[unit]") {
    MoeConfig moe = no_losses();
    moe.router = "group_limited";
    moe.capacity_factor = 1.0;
    moe.balance.switch_loss = 0.003;
    moe.balance.device_loss = 0.05;
    moe.balance.communication_loss = 0.02;
    moe.balance.importance_loss = 0.1;
    check_layouts(moe);
}
