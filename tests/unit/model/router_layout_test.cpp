// Whole tiny models with each rule: losses, routing and biases do not show the layout.
#include <catch2/catch.hpp>

#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;

namespace {

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
    const test::History history = test::check_layouts({.moe = moe, .steps = 5});
    REQUIRE(history.state.size() == 2);
    for (const auto& [name, bias] : history.state) {
        INFO(name);
        CHECK(std::ranges::any_of(bias, [](double value) { return value > 0.0; }));
        CHECK(std::ranges::any_of(bias, [](double value) { return value < 0.0; }));
    }
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
    test::check_layouts({.moe = moe, .steps = 5});
}
