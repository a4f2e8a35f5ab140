// Whole tiny models: gradients against finite differences, and training that does not show the layout.
#include <catch2/catch.hpp>

#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;
using test::check_decoding;
using test::check_gradients;
using test::check_layouts;
using test::History;
using test::tiny_model;
using test::tiny_moe;
using test::train;

TEST_CASE("transformer: gradients of every parameter agree with finite differences", "[unit]") {
    ModelConfig config = tiny_model();
    config.tied_head = GENERATE(false, true);
    config.recompute = GENERATE(Recompute::none, Recompute::block);
    MoeConfig moe = tiny_moe();
    // All experts chosen: no choice flips under the small changes, and the weights still carry gradients.
    moe.top_k = moe.experts;
    check_gradients(config, moe);
}

TEST_CASE("training: in reproducible mode 20 steps are bit-identical on every layout", "[unit]") {
    const ModelConfig config = tiny_model();
    MoeConfig moe = tiny_moe();
    moe.layers = "all";
    moe.capacity_factor = 0.9;
    moe.jitter = 0.05;
    CHECK(train({}, {.config = config, .moe = moe, .steps = 1, .numerics = NumericsMode::fast}).num_dropped >
          0);
    check_layouts({.config = config, .moe = moe, .steps = 20});
}

TEST_CASE("training: in fast mode losses agree on every layout and the first routing is equal", "[unit]") {
    const ModelConfig config = tiny_model();
    MoeConfig moe = tiny_moe();
    moe.capacity_factor = 1.0;
    const History reference =
        train({}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast});
    for (const test::Layout& layout : test::kLayouts) {
        const History other =
            train(layout, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast});
        for (std::size_t i = 0; i < 5; ++i) CHECK(other.loss[i] == Approx(reference.loss[i]).epsilon(1e-5));
        CHECK(other.hash[0] == reference.hash[0]);
    }
    const History again =
        train({4, 2}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast});
    CHECK(again.loss ==
          train({4, 2}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast}).loss);
}

TEST_CASE("training: recomputation changes no bit, and bf16 learns what float32 learns", "[unit]") {
    ModelConfig config = tiny_model();
    const MoeConfig moe = tiny_moe();
    const History plain =
        train({2, 2}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast});
    config.recompute = Recompute::block;
    CHECK(train({2, 2}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast}).loss ==
          plain.loss);
    config.recompute = Recompute::none;
    config.dtype = DType::bf16;
    const History rounded =
        train({2, 2}, {.config = config, .moe = moe, .steps = 5, .numerics = NumericsMode::fast});
    for (std::size_t i = 0; i < 5; ++i) CHECK(rounded.loss[i] == Approx(plain.loss[i]).epsilon(0.02));
}

TEST_CASE("generation: decoding with the cache gives the logits of a whole pass", "[unit]") {
    const ModelConfig config = tiny_model();
    const MoeConfig moe = tiny_moe();
    check_decoding(config, moe);
}
