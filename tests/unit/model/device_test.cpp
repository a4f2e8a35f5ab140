// A model on a device that the host cannot reach, and how often the host reads one.
#include <array>
#include <catch2/catch.hpp>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "tests/support/fenced_device.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;
using test::FencedDevice;
using test::Turns;

namespace {

constexpr index_t kMixtures = 2;

/// Routers differ in what the host decides.
test::Training training_of(const std::string& router) {
    test::Training training;
    training.steps = 3;
    training.numerics = NumericsMode::fast;
    training.moe.layers = "all";
    training.moe.router = router;
    training.moe.allow_noncausal = true;
    training.moe.capacity_factor = router == "top_k" ? 1.0 : 0.0;
    training.moe.drop_by = DropBy::score;
    if (router == "base") training.moe.top_k = 1;
    if (router != "top_k") training.moe.balance = {.switch_loss = 0.0};
    return training;
}

using Reads = std::array<index_t, kHostReads.size()>;

Reads reads_of(const Device& device) {
    Reads reads{};
    for (std::size_t i = 0; i < reads.size(); ++i) reads[i] = device.num_reads(kHostReads[i]);
    return reads;
}

/// The reads of so many steps. @param assignment  of a mixture
Reads expected_reads(index_t steps, index_t assignment) {
    // Of a step: its losses and statistics, then the norm of its gradient. On one rank no message carries more than the
    // gradients of the choices' weights.
    return {steps * kMixtures, steps * kMixtures * assignment, steps * 2, 0, 0, steps * kMixtures};
}

}  // namespace

TEST_CASE("host reads: a training step reads as often as its routers need, on every device", "[unit]") {
    const auto& [router, assignment] = GENERATE(table<std::string, index_t>(
        {{"top_k", 0}, {"hash", 0}, {"base", 1}, {"expert_choice", 5}, {"reinforce", 0}}));
    INFO(router);
    test::Training training = training_of(router);
    training.after_step = [&, assignment = assignment](test::Rank& rank, runtime::ShardedOptimizer&,
                                                       index_t step) {
        CHECK(reads_of(rank.session.device) == expected_reads(step, assignment));
    };
    test::train({}, training);
    training.make_device = [] { return std::make_unique<FencedDevice>(); };
    test::train({}, training);
}

TEST_CASE(
    "host reads: generation reads the choices of every mixture once a token, unless they stay on the device",
    "[unit]") {
    const auto reads = [](const test::Training& training) {
        std::vector<Reads> after;
        comm::LocalFabric(1).run([&](comm::Communicator& world) {
            test::Rank rank(world, 1, training.numerics, training.config, training.moe,
                            comm::ExchangeKind::flat,
                            training.make_device ? training.make_device() : nullptr);
            const Context& context = rank.session.context;
            Transformer::Generation state = rank.transformer.start_generation(2, 8, context);
            const std::vector<std::int32_t> prompt{3, 1, 4};
            rank.transformer.prefill(prompt, 0, Transformer::LogitRows::last, state, context);
            for (int token = 0; token < 3; ++token) {
                const std::vector<std::int32_t> ids{token};
                const Tensor logits = rank.transformer.decode(ids, std::vector<index_t>{0}, state, context);
                const HostValues read(HostRead::logits, {logits}, context);
                after.push_back(reads_of(rank.session.device));
            }
            rank.groups.close();
        });
        return after;
    };
    test::Training training = training_of("top_k");
    const std::vector<Reads> on_cpu = reads(training);
    // A prompt is read at once.
    for (index_t token = 1; token <= 3; ++token)
        CHECK(on_cpu[static_cast<std::size_t>(token - 1)] ==
              Reads{(token + 1) * kMixtures, 0, 0, token, 0, 0});
    // Where the host would have to wait, those of the prompt alone.
    training.make_device = [] { return std::make_unique<FencedDevice>(); };
    const std::vector<Reads> on_device = reads(training);
    for (index_t token = 1; token <= 3; ++token)
        CHECK(on_device[static_cast<std::size_t>(token - 1)] == Reads{kMixtures, 0, 0, token, 0, 0});
    // A table of token ids is the host's.
    training.moe.router = "hash";
    training.moe.capacity_factor = 0.0;
    training.moe.balance = {.switch_loss = 0.0};
    CHECK(reads(training).back() == on_cpu.back());
}

TEST_CASE("fenced device: it generates the bits of the processor, whenever its work is done", "[unit]") {
    const auto wire = GENERATE(WireFormat::f32, WireFormat::bf16, WireFormat::fp8);
    const std::string router = GENERATE("top_k", "hash", "base");
    INFO(router);
    test::Training training = training_of(router);
    training.moe.wire = wire;
    training.moe.shared_experts = 1;
    const auto generated = [](const test::Training& from) {
        std::vector<std::vector<float>> logits;
        comm::LocalFabric(1).run([&](comm::Communicator& world) {
            test::Rank rank(world, 1, from.numerics, from.config, from.moe, comm::ExchangeKind::flat,
                            from.make_device ? from.make_device() : nullptr);
            const Context& context = rank.session.context;
            Transformer::Generation state = rank.transformer.start_generation(3, 8, context);
            rank.transformer.prefill(std::vector<std::int32_t>{3, 1, 4}, 2, Transformer::LogitRows::last,
                                     state, context);
            for (std::int32_t token = 0; token < 3; ++token) {
                const std::vector<std::int32_t> ids{token, 5 - token};
                const std::vector<index_t> slots{2, 0};
                const Tensor step = rank.transformer.decode(ids, slots, state, context);
                const HostValues read(HostRead::logits, {step}, context);
                const auto values = host_values<const float>(read[0]);
                logits.emplace_back(values.begin(), values.end());
            }
            rank.groups.close();
        });
        return logits;
    };
    const std::vector<std::vector<float>> expected = generated(training);
    for (const Turns turns : {Turns::oldest, Turns::drawn}) {
        training.make_device = [turns] { return std::make_unique<FencedDevice>(turns); };
        CHECK(generated(training) == expected);
    }
}

TEST_CASE("fenced device: ranks train on it as on processors, over every exchange, in both modes", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    const std::string router = GENERATE("top_k", "base", "expert_choice", "reinforce");
    const test::Layout layout =
        GENERATE(test::Layout{2, 2}, test::Layout{4, 2, 2}, test::Layout{4, 4, 4}, test::Layout{3, 3, 2});
    INFO(router << ", " << layout);
    test::Training training = training_of(router);
    training.numerics = numerics;
    const test::History expected = test::train(layout, training);
    training.make_device = [] { return std::make_unique<FencedDevice>(Turns::drawn); };
    const test::History found = test::train(layout, training);
    CHECK(found.loss == expected.loss);
    CHECK(found.extra_losses == expected.extra_losses);
    CHECK(found.norm == expected.norm);
    CHECK(found.hash == expected.hash);
    CHECK(found.num_dropped == expected.num_dropped);
    CHECK(found.drops == expected.drops);
    CHECK(found.state == expected.state);
}

TEST_CASE("fenced device: a model trains on it as on the processor, whenever its work is done", "[unit]") {
    const std::string router = GENERATE("top_k", "hash", "base", "sinkhorn", "expert_choice", "reinforce");
    INFO(router);
    test::Training training = training_of(router);
    const test::History expected = test::train({}, training);
    for (const Turns turns : {Turns::at_once, Turns::oldest, Turns::drawn}) {
        training.make_device = [turns] { return std::make_unique<FencedDevice>(turns); };
        CHECK(test::train({}, training) == expected);
    }
}
