// Every wiring of a block in a whole tiny model: gradients, recomputation, layouts, generation.
#include <catch2/catch.hpp>

#include <algorithm>

#include "comm/local/local_fabric.hpp"
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

namespace {

struct Case {
    const char* name;
    void (*change)(ModelConfig&);
};

/// What GPT-2 is made of.
void gpt2(ModelConfig& model) {
    model.norm = NormKind::layer;
    model.norm_bias = true;
    model.activation = Activation::gelu_tanh;
    model.ffn_bias = true;
    model.position.kind = PositionKind::learned;
}

const Case kCases[] = {
    {"norms behind sums", [](ModelConfig& m) { m.norm_placement = NormPlacement::post; }},
    {"norms before and behind",
     [](ModelConfig& m) {
         m.norm_placement = NormPlacement::both;
         // The norm of a small output bends sharply, which differences would feel.
         m.norm_eps = 0.05;
     }},
    {"norms of outputs alone", [](ModelConfig& m) { m.norm_placement = NormPlacement::outside; }},
    {"parallel", [](ModelConfig& m) { m.wiring = Wiring::parallel; }},
    {"parallel, norms before and behind",
     [](ModelConfig& m) {
         m.wiring = Wiring::parallel;
         m.norm_placement = NormPlacement::both;
         m.norm_eps = 0.05;
     }},
    {"GPT-2", gpt2},
    {"the Transformer of 2017",
     [](ModelConfig& m) {
         m.norm = NormKind::layer;
         m.norm_bias = true;
         m.norm_placement = NormPlacement::post;
         m.activation = Activation::silu;
         m.ffn_bias = true;
         m.position.kind = PositionKind::sine;
         m.embedding_scale = 4.0;
         m.tied_head = true;
     }},
    {"norm of the embedding",
     [](ModelConfig& m) {
         m.norm = NormKind::layer;
         m.embedding_norm = true;
         m.embedding_scale = 0.5;
     }},
};

/// All experts chosen: no choice flips under small changes, and the weights still carry gradients.
MoeConfig all_experts() {
    MoeConfig moe = tiny_moe();
    moe.top_k = moe.experts;
    return moe;
}

ModelConfig changed(const Case& which) {
    ModelConfig config = tiny_model();
    which.change(config);
    REQUIRE(model_problems(config, tiny_moe()).empty());
    return config;
}

bool mentions(const std::vector<std::string>& problems, const std::string& text) {
    return std::ranges::any_of(
        problems, [&](const std::string& problem) { return problem.find(text) != problem.npos; });
}

}  // namespace

TEST_CASE("blocks: gradients of every wiring agree with finite differences", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        check_gradients(config, all_experts());
        config.recompute = Recompute::block;
        check_gradients(config, all_experts());
    }
}

TEST_CASE("blocks: gradients of every activation agree with finite differences", "[unit]") {
    for (const Activation activation : ops::kActivations) {
        INFO(ops::activation_name(activation));
        ModelConfig config = tiny_model();
        config.activation = activation;
        config.ffn_bias = true;
        // The slope of max(x, 0) jumps where differences cross 0.
        const bool bent = activation == Activation::relu || activation == Activation::reglu;
        check_gradients(config, all_experts(), Use::evaluate, bent ? 0.1 : 0.005);
    }
}

TEST_CASE("blocks: a gate on the shared experts, in products of both types", "[unit]") {
    MoeConfig moe = all_experts();
    moe.shared_gate = true;
    ModelConfig config = tiny_model();
    check_gradients(config, moe);
    config.recompute = Recompute::block;
    check_gradients(config, moe);
    check_decoding(config, moe);
    check_layouts({.config = config, .moe = moe, .steps = 4});
    config.dtype = DType::bf16;
    check_layouts({.config = config, .moe = moe, .steps = 4});
}

TEST_CASE("blocks: gradients under dropout agree with finite differences under the same masks", "[unit]") {
    for (const NormPlacement placement :
         {NormPlacement::pre, NormPlacement::post, NormPlacement::both, NormPlacement::outside}) {
        ModelConfig config = tiny_model();
        config.norm_placement = placement;
        config.norm_eps = 0.05;
        config.dropout = 0.3;
        check_gradients(config, all_experts(), Use::train);
        config.recompute = Recompute::block;
        check_gradients(config, all_experts(), Use::train);
    }
    ModelConfig config = tiny_model();
    config.wiring = Wiring::parallel;
    config.dropout = 0.3;
    check_gradients(config, all_experts(), Use::train);
}

TEST_CASE("blocks: dropout changes training, another step's mask is another, and evaluation has none",
          "[unit]") {
    ModelConfig config = tiny_model();
    const History plain = train({}, {.config = config, .steps = 2, .numerics = NumericsMode::fast});
    config.dropout = 0.2;
    const History dropped = train({}, {.config = config, .steps = 2, .numerics = NumericsMode::fast});
    CHECK(dropped.loss[0] != plain.loss[0]);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank with(world, 1, NumericsMode::fast, config, tiny_moe());
        ModelConfig without = config;
        without.dropout = 0.0;
        test::Rank bare(world, 1, NumericsMode::fast, without, tiny_moe());
        const auto ids = test::tokens(0, 2, config);
        const BatchInfo first{0, 2 * config.seq_len, 1, 0, 1};
        const BatchInfo second{0, 2 * config.seq_len, 2, 0, 1};
        const auto total = [&](test::Rank& rank, const BatchInfo& batch) {
            return rank.transformer.train(ids, batch, rank.session.context).total;
        };
        CHECK(total(with, first) == total(with, first));
        CHECK(total(with, first) != total(with, second));
        CHECK(with.transformer.evaluate(ids, first, with.session.context).total ==
              bare.transformer.evaluate(ids, first, bare.session.context).total);
    });
}

TEST_CASE("blocks: recomputation changes no bit", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        config.dropout = 0.1;
        const History plain = train({2, 2}, {.config = config, .steps = 3, .numerics = NumericsMode::fast});
        config.recompute = Recompute::block;
        CHECK(train({2, 2}, {.config = config, .steps = 3, .numerics = NumericsMode::fast}).loss ==
              plain.loss);
    }
}

TEST_CASE("blocks: bf16 learns what float32 learns", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        const History plain = train({}, {.config = config, .steps = 3, .numerics = NumericsMode::fast});
        config.dtype = DType::bf16;
        const History rounded = train({}, {.config = config, .steps = 3, .numerics = NumericsMode::fast});
        for (std::size_t i = 0; i < 3; ++i) CHECK(rounded.loss[i] == Approx(plain.loss[i]).epsilon(0.03));
    }
}

TEST_CASE("blocks: with dropout, reproducible steps are bit-identical on every layout", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        config.dropout = 0.1;
        check_layouts({.config = config, .steps = 8});
    }
}

TEST_CASE("blocks: decoding with the cache gives the logits of a whole pass", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        check_decoding(changed(which), tiny_moe());
    }
}

TEST_CASE("blocks: wirings that nothing is built for are refused with their remedy", "[unit]") {
    ModelConfig config = tiny_model();
    config.wiring = Wiring::parallel;
    config.norm_placement = NormPlacement::post;
    CHECK(mentions(model_problems(config, tiny_moe()), "model.wiring = parallel"));
    config.norm_placement = NormPlacement::outside;
    CHECK(mentions(model_problems(config, tiny_moe()), "model.norm_placement = pre or both"));
}
