// Losses and statistics of a pass: true when they are huge, and not finite when they are not.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;

namespace {

double loss_named(const PassResult& pass, std::string_view name) {
    const auto found = std::ranges::find(pass.extra_losses, name, &NamedLoss::name);
    REQUIRE(found != pass.extra_losses.end());
    return found->value;
}

MoeConfig moe_with_losses() {
    MoeConfig moe = test::tiny_moe();
    moe.experts = 6;
    moe.groups = 2;
    moe.group_limit = 1;
    moe.balance.switch_loss = 1e-2;
    moe.balance.z_loss = 1e-3;
    moe.balance.importance_loss = 1e-2;
    moe.balance.device_loss = 1e-2;
    moe.balance.communication_loss = 1e-2;
    moe.balance.sequence_loss = 1e-2;
    return moe;
}

/// A step of test::kSequences sequences, cut into micro-steps and over ranks: its losses, and the gradient that all ranks
/// together have of what each of them holds.
struct Step {
    PassResult losses;
    std::vector<std::int64_t> gradient;
};

Step run_step(const ModelConfig& config, int ranks, index_t accumulation) {
    Step step;
    MoeConfig moe = test::tiny_moe();
    // Its product of two means is another loss for other passes.
    moe.balance.switch_loss = 0.0;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        test::Rank rank(world, ranks, NumericsMode::reproducible, config, moe);
        const index_t sequences = test::kSequences / accumulation;
        const Range mine = part_of(sequences, ranks, world.rank());
        std::vector<PassResult> passes;
        for (index_t micro_step = 0; micro_step < accumulation; ++micro_step) {
            const BatchInfo batch{mine.begin * config.seq_len, sequences * config.seq_len, 3, micro_step,
                                  accumulation};
            const auto ids = test::tokens(micro_step * sequences + mine.begin, mine.size(), config);
            passes.push_back(rank.transformer.train(ids, batch, rank.session.context));
        }
        const auto own = rank.parameters.group(Sharding::replicated).gradient_fixed.values<std::int64_t>();
        std::vector<std::int64_t> gradient(own.begin(), own.end());
        comm::all_reduce(world, std::span<std::int64_t>(gradient));
        if (world.rank() == 0) step = {over_passes(passes), std::move(gradient)};
        rank.groups.close();
    });
    return step;
}

}  // namespace

TEST_CASE(
    "statistics: a step's loss and gradient are means over its targets, however it is cut into micro-steps",
    "[unit]") {
    for (const Architecture architecture :
         {Architecture::decoder, Architecture::encoder, Architecture::encoder_decoder}) {
        ModelConfig config = test::tiny_model();
        config.architecture = architecture;
        config.vocab_size = 300;
        config.mask_fraction = 0.15;
        config.output_z_loss = 1e-2;
        if (architecture == Architecture::decoder) config.mtp_depth = 1;
        const Step whole = run_step(config, 1, 1);
        REQUIRE(std::isfinite(whole.losses.token_loss));
        REQUIRE(std::ranges::any_of(whole.gradient, [](std::int64_t part) { return part != 0; }));
        for (const auto& [ranks, accumulation] : {std::pair{1, 2}, {1, 8}, {2, 1}, {2, 4}}) {
            INFO(static_cast<int>(architecture) << ", " << ranks << " ranks, accumulation " << accumulation);
            const Step step = run_step(config, ranks, accumulation);
            CHECK(step.losses.num_targets == whole.losses.num_targets);
            CHECK(step.losses.token_loss == whole.losses.token_loss);
            CHECK(step.losses.total == Approx(whole.losses.total).epsilon(1e-9));
            CHECK(loss_named(step.losses, "output_z_loss") ==
                  Approx(loss_named(whole.losses, "output_z_loss")).epsilon(1e-9));
            CHECK(step.gradient == whole.gradient);
        }
    }
}

TEST_CASE("statistics: an encoder that knows nothing has the loss ln V, whatever is masked in which pass",
          "[unit]") {
    ModelConfig config = test::tiny_model();
    config.architecture = Architecture::encoder;
    config.vocab_size = 257;
    config.seq_len = 4;
    config.mask_fraction = 0.1;
    config.init_std = 1e-6;
    for (const index_t accumulation : {1, 2, 4, 8}) {
        const Step step = run_step(config, 1, accumulation);
        REQUIRE(step.losses.num_targets > 0);
        CHECK(step.losses.token_loss == Approx(std::log(257.0)).epsilon(1e-6));
    }
}

TEST_CASE("statistics: a step without a target claims no loss and has a finite gradient", "[unit]") {
    ModelConfig config = test::tiny_model();
    config.architecture = Architecture::encoder;
    config.mask_fraction = 1e-9;
    config.output_z_loss = 1e-2;
    for (const index_t accumulation : {1, 2}) {
        const Step step = run_step(config, 1, accumulation);
        CHECK(step.losses.num_targets == 0);
        CHECK(std::isnan(step.losses.token_loss));
        CHECK(std::isnan(step.losses.total));
        CHECK(std::isnan(loss_named(step.losses, "output_z_loss")));
        CHECK(std::isfinite(loss_named(step.losses, "z_loss")));
    }
}

TEST_CASE("statistics: losses whose sums pass 2^27 are the means of those of their sequences", "[unit]") {
    ModelConfig config = test::tiny_model();
    config.init_std = 300.0;
    config.output_z_loss = 1e-4;
    MoeConfig moe = test::tiny_moe();
    moe.balance.z_loss = 1e-3;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::reproducible, config, moe);
        constexpr index_t kSequences = 64;
        const auto ids = test::tokens(0, kSequences, config);
        const index_t tokens = kSequences * config.seq_len;
        const PassResult whole = rank.transformer.evaluate(ids, {0, tokens, 0, 0, 1}, rank.session.context);
        for (const std::string name : {"output_z_loss", "z_loss"}) {
            double mean = 0.0;
            for (index_t s = 0; s < kSequences; ++s) {
                const std::span<const std::int32_t> one =
                    std::span(ids).subspan(static_cast<std::size_t>(s * (config.seq_len + 1)),
                                           static_cast<std::size_t>(config.seq_len + 1));
                const PassResult alone =
                    rank.transformer.evaluate(one, {0, config.seq_len, 0, 0, 1}, rank.session.context);
                mean += loss_named(alone, name) / static_cast<double>(kSequences);
            }
            INFO(name);
            CHECK(mean * static_cast<double>(tokens) > 0x1p28);
            CHECK(loss_named(whole, name) == Approx(mean).epsilon(1e-9));
        }
    });
}

TEST_CASE("statistics: weights that are not finite show in every loss, on any number of ranks", "[unit]") {
    ModelConfig config = test::tiny_model();
    config.output_z_loss = 1e-4;
    config.mtp_depth = 1;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        for (const int ranks : {1, 2}) {
            INFO(bad << " on " << ranks << " ranks");
            comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
                test::Rank rank(world, ranks, NumericsMode::reproducible, config, moe_with_losses());
                // Every token reads it: the first block's norm has a gain for it.
                FlatGroup& flat = rank.parameters.group(Sharding::replicated);
                for (const LocalMatrix& matrix : flat.matrices) {
                    const ParameterSpec& spec =
                        rank.parameters.specs()[static_cast<std::size_t>(matrix.parameter)];
                    if (spec.name.find("norm") == std::string::npos) continue;
                    flat.weights.values<float>()[static_cast<std::size_t>(matrix.place.offset)] = bad;
                }
                const Range mine = part_of(test::kSequences, ranks, world.rank());
                const BatchInfo batch{mine.begin * config.seq_len, test::kSequences * config.seq_len, 1, 0,
                                      1};
                const auto ids = test::tokens(mine.begin, mine.size(), config);
                const PassResult pass = rank.transformer.train(ids, batch, rank.session.context);
                SY_REQUIRE(!std::isfinite(pass.token_loss), "token loss ", pass.token_loss);
                SY_REQUIRE(!std::isfinite(pass.total), "total ", pass.total);
                SY_REQUIRE(pass.extra_losses.size() == 8, pass.extra_losses.size(), " losses");
                for (const NamedLoss& loss : pass.extra_losses)
                    SY_REQUIRE(!std::isfinite(loss.value), loss.name, " is ", loss.value);
                rank.groups.close();
            });
        }
    }
}
