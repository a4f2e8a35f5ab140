// Whole training steps on an emulated GPU (tests/cuda_on_cpu).
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/emulated_gpu.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;

namespace {

void check_close(const std::vector<double>& values, const std::vector<double>& expected) {
    REQUIRE(values.size() == expected.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        INFO(values[i] << " for " << expected[i] << " at " << i);
        CHECK(std::fabs(values[i] - expected[i]) <= 1e-5 * std::fabs(expected[i]));
    }
}

}  // namespace

TEST_CASE("cuda: a model trains on a GPU as on the processor: rows go the same ways, losses agree to 1e-5",
          "[unit]") {
    const std::string router = GENERATE("top_k", "hash", "base", "sinkhorn", "expert_choice", "reinforce");
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    INFO(router);
    test::Training training;
    training.steps = 2;
    training.numerics = numerics;
    training.moe.layers = "all";
    training.moe.router = router;
    training.moe.allow_noncausal = true;
    training.moe.capacity_factor = router == "top_k" ? 1.0 : 0.0;
    training.moe.drop_by = DropBy::score;
    if (router == "base") training.moe.top_k = 1;
    if (router != "top_k") training.moe.balance = {.switch_loss = 0.0};
    const test::History expected = test::train({}, training);
    training.make_device = [] { return std::make_unique<test::EmulatedGpu>(); };
    const test::History history = test::train({}, training);
    CHECK(history.hash == expected.hash);
    CHECK(history.num_dropped == expected.num_dropped);
    check_close(history.loss, expected.loss);
    check_close(history.norm, expected.norm);
}
