// Tiny models with the routers that look at the whole batch: training does not show the layout.
#include <catch2/catch.hpp>

#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;
using test::check_decoding;
using test::check_layouts;
using test::History;
using test::tiny_model;
using test::tiny_moe;
using test::train;

namespace {

MoeConfig moe_of(const std::string& router) {
    MoeConfig moe = tiny_moe();
    moe.router = router;
    moe.layers = "all";
    moe.jitter = 0.05;
    moe.balance.switch_loss = router == "reinforce" ? 0.05 : 0.0;
    moe.balance.entropy_bonus = router == "reinforce" ? 0.01 : 0.0;
    moe.allow_noncausal = true;
    if (router == "base") moe.top_k = 1;
    return moe;
}

}  // namespace

TEST_CASE("training: with global routers 10 reproducible steps are bit-identical on every layout", "[unit]") {
    for (const char* router : {"expert_choice", "base", "sinkhorn", "reinforce"}) {
        const ModelConfig config = tiny_model();
        const MoeConfig moe = moe_of(router);
        REQUIRE(model_problems(config, moe).empty());
        INFO(router);
        check_layouts({.config = config, .moe = moe});
        // Choices are made again in the backward pass.
        ModelConfig recomputed = config;
        recomputed.recompute = Recompute::block;
        const History again = train({3, 3}, {.config = recomputed, .moe = moe});
        CHECK(again.loss == train({}, {.config = config, .moe = moe}).loss);
    }
}

TEST_CASE("training: with global routers fast mode agrees on every layout", "[unit]") {
    for (const char* router : {"expert_choice", "base", "sinkhorn", "reinforce"}) {
        const MoeConfig moe = moe_of(router);
        const History reference = train({}, {.moe = moe, .steps = 5, .numerics = NumericsMode::fast});
        for (const test::Layout& layout : test::kLayouts) {
            INFO(router << " on " << layout);
            const History other = train(layout, {.moe = moe, .steps = 5, .numerics = NumericsMode::fast});
            for (std::size_t i = 0; i < 5; ++i)
                CHECK(other.loss[i] == Approx(reference.loss[i]).epsilon(1e-5));
            CHECK(other.hash[0] == reference.hash[0]);
        }
    }
}

TEST_CASE("training: expert choice of all tokens by all experts is top-k of all experts", "[unit]") {
    MoeConfig moe = moe_of("expert_choice");
    moe.top_k = moe.experts;
    const History taken = train({2, 2}, {.moe = moe, .steps = 5});
    moe.router = "top_k";
    moe.renormalise = false;
    const History chosen = train({2, 2}, {.moe = moe, .steps = 5});
    CHECK(taken.loss == chosen.loss);
    CHECK(taken.norm == chosen.norm);
    CHECK(taken.hash == chosen.hash);
}

TEST_CASE("generation: BASE, Sinkhorn and RL-R decode as they evaluate, expert choice refuses", "[unit]") {
    for (const char* router : {"base", "sinkhorn", "reinforce"}) check_decoding(tiny_model(), moe_of(router));
    CHECK_THROWS_WITH(check_decoding(tiny_model(), moe_of("expert_choice")),
                      Catch::Contains("cannot generate"));
}
