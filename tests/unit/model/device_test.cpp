// A model on a device that the host cannot reach, and how often the host reads one.
#include <array>
#include <catch2/catch.hpp>

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

/// The reads of every step. @param assignment  of a mixture
Reads expected_reads(index_t steps, index_t assignment) {
    // The choices, and the gradients of their weights.
    return {steps * kMixtures * 2, steps * kMixtures * assignment, steps, 0, 0};
}

}  // namespace

TEST_CASE("host reads: a training step reads as often as its routers need, on every device", "[unit]") {
    const auto& [router, assignment] = GENERATE(table<std::string, index_t>(
        {{"top_k", 0}, {"hash", 0}, {"base", 1}, {"sinkhorn", 0}, {"expert_choice", 5}, {"reinforce", 0}}));
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
