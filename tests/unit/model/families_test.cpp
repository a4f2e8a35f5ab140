// Every published model, scaled down, trains.
#include <catch2/catch.hpp>

#include <cmath>

#include "comm/local/local_fabric.hpp"
#include "model/families/preset.hpp"
#include "runtime/train/optimizer.hpp"
#include "tests/unit/model/tiny_model.hpp"

using namespace sy;
using namespace sy::model;
using test::Rank;
using test::tokens;

namespace {

constexpr index_t kSequences = 4;
constexpr index_t kSteps = 3;

/// Losses of some steps on one batch, on two ranks.
std::vector<double> train(const ModelConfig& config, const MoeConfig& moe) {
    std::vector<double> loss;
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Rank rank(world, 2, NumericsMode::fast, config, moe);
        runtime::OptimizerConfig rule;
        rule.lr = 3e-3;
        rule.warmup_steps = 0;
        runtime::ShardedOptimizer optimizer(rule, rank.parameters, world, rank.groups, rank.session.context);
        rank.transformer.on_gradient_ready([&](ParameterId id) { optimizer.gradient_ready(id); });
        const Range mine = part_of(kSequences, world.size(), world.rank());
        const std::vector<std::int32_t> ids = tokens(mine.begin, mine.size(), config);
        for (index_t step = 1; step <= kSteps; ++step) {
            const BatchInfo batch{mine.begin * config.seq_len, kSequences * config.seq_len, step, 0, 1};
            const PassResult pass = rank.transformer.train(ids, batch, rank.session.context);
            SY_REQUIRE(optimizer.step(step, 100).applied, "step ", step, " was skipped");
            rank.transformer.finish_step(pass);
            if (world.rank() == 0) loss.push_back(pass.token_loss);
        }
        rank.groups.close();
    });
    return loss;
}

}  // namespace

TEST_CASE("presets: scaled down, each trains on two ranks and its loss falls", "[unit]") {
    for (const Preset& preset : presets()) {
        INFO(preset.name);
        ModelConfig model = preset.model;
        MoeConfig moe = preset.moe;
        scale_down(model, moe);
        const std::vector<double> loss = train(model, moe);
        REQUIRE(loss.size() == kSteps);
        for (std::size_t step = 0; step < loss.size(); ++step) {
            INFO("step " << step + 1 << ": " << loss[step]);
            CHECK(std::isfinite(loss[step]));
            // An encoder predicts other tokens in each step.
            if (step > 0 && model.architecture == Architecture::decoder) CHECK(loss[step] < loss[step - 1]);
        }
        CHECK(loss.back() < loss.front());
    }
}
