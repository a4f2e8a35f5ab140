// Every kind of attention and position in a whole tiny model: gradients, layouts, generation.
#include <catch2/catch.hpp>

#include "comm/local/local_fabric.hpp"
#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;
using test::check_decoding;
using test::check_gradients;
using test::check_layouts;
using test::tiny_model;
using test::tiny_moe;

namespace {

struct Case {
    const char* name;
    void (*change)(ModelConfig&);
    double tolerance = 0.005;
};
/// Where slopes jump, differences feel it.
constexpr double kBent = 0.1;

void latent(ModelConfig& model) {
    model.kv_heads = model.heads;
    model.head_dim = 6;
    model.attention.kind = AttentionKind::latent;
    model.attention.kv_rank = 10;
    model.attention.rope_dim = 4;
    model.attention.value_dim = 5;
    model.position.rope_pairs = RopePairs::interleaved;
}

const Case kCases[] = {
    {"multi-head with all biases",
     [](ModelConfig& m) {
         m.kv_heads = m.heads;
         m.attention.bias = Biases::all;
     }},
    {"multi-query, biases of query, key and value",
     [](ModelConfig& m) {
         m.kv_heads = 1;
         m.attention.bias = Biases::query_key_value;
     }},
    {"QK norm and a wide head",
     [](ModelConfig& m) {
         m.head_dim = 6;
         m.attention.qk_norm = QkNorm::head;
     }},
    {"norm of all heads together, clipped",
     [](ModelConfig& m) {
         m.attention.qk_norm = QkNorm::projection;
         m.attention.clip_qkv = 1.2;
     },
     kBent},
    {"clipped queries, keys and values", [](ModelConfig& m) { m.attention.clip_qkv = 0.9; }, kBent},
    {"window in every second layer, soft cap and scale",
     [](ModelConfig& m) {
         m.attention.window = 4;
         m.attention.window_layers = "every:2";
         m.attention.softcap = 1.5;
         m.attention.scale = 0.7;
     }},
    {"half of a head rotates, neighbours paired",
     [](ModelConfig& m) {
         m.head_dim = 8;
         m.position.rope_fraction = 0.5;
         m.position.rope_pairs = RopePairs::interleaved;
     }},
    {"YaRN",
     [](ModelConfig& m) {
         m.position.rope_scaling = RopeScaling::yarn;
         m.position.rope_factor = 4.0;
         m.position.rope_original_len = 4;
     }},
    {"ALiBi", [](ModelConfig& m) { m.position.kind = PositionKind::alibi; }},
    {"T5 buckets",
     [](ModelConfig& m) {
         m.position.kind = PositionKind::t5;
         m.position.t5_buckets = 6;
         m.position.t5_max_distance = 9;
     }},
    {"no positions", [](ModelConfig& m) { m.position.kind = PositionKind::none; }},
    {"latent", latent},
    {"latent with compressed queries and YaRN",
     [](ModelConfig& m) {
         latent(m);
         m.attention.query_rank = 7;
         m.position.rope_scaling = RopeScaling::yarn;
         m.position.rope_factor = 4.0;
         m.position.rope_original_len = 4;
     }},
};

ModelConfig model_of(const Case& which) {
    ModelConfig config = tiny_model();
    which.change(config);
    return config;
}

}  // namespace

TEST_CASE("attention: gradients of every parameter agree with finite differences", "[unit]") {
    const Case& which = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
    INFO(which.name);
    ModelConfig config = model_of(which);
    config.recompute = GENERATE(Recompute::none, Recompute::block);
    MoeConfig moe = tiny_moe();
    moe.top_k = moe.experts;
    CHECK(model_problems(config, moe).empty());
    check_gradients(config, moe, Use::evaluate, which.tolerance);
}

TEST_CASE("attention: training is bit-identical on every layout, dropout of probabilities included",
          "[unit]") {
    const Case& which = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
    INFO(which.name);
    ModelConfig config = model_of(which);
    config.attention.dropout = 0.1;
    check_layouts({.config = config, .steps = 4});
}

TEST_CASE("attention: decoding with the cache gives the logits of a whole pass", "[unit]") {
    const Case& which = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
    INFO(which.name);
    check_decoding(model_of(which), tiny_moe());
}

namespace {

/// Sum of the cross entropies of one sequence, whose length may be another than the model's.
double loss_of(ModelConfig config, std::span<const std::int32_t> ids,
               std::span<const index_t> document_begins = {}) {
    config.seq_len = static_cast<index_t>(ids.size()) - 1;
    double loss = 0.0;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::fast, config, tiny_moe());
        const BatchInfo batch{.global_tokens = config.seq_len, .document_begins = document_begins};
        loss = rank.transformer.evaluate(ids, batch, rank.session.context).token_sum.value();
        rank.groups.close();
    });
    return loss;
}

}  // namespace

TEST_CASE("attention: documents packed into one sequence have the losses that each has alone", "[unit]") {
    const Case& which = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
    INFO(which.name);
    const ModelConfig config = model_of(which);
    const std::vector<std::int32_t> ids = test::tokens(0, 1, config);
    const std::span<const std::int32_t> all = ids;
    const std::vector<index_t> begins{0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 5, 5};
    const double apart = loss_of(config, all.first(6)) + loss_of(config, all.subspan(5));
    CHECK(loss_of(config, ids, begins) == Approx(apart).epsilon(1e-5));
    // No position, however small, could hide that the second document sees the first.
    CHECK(std::fabs(loss_of(config, ids) - apart) > 1e-4 * apart);
}

TEST_CASE("attention: latent attention keeps one compressed row a token", "[unit]") {
    const ModelConfig config = model_of({"latent", latent});
    test::TestSession session(1);
    MoeConfig dense;
    dense.layers = "none";
    Parameters parameters(blueprint(config, dense), {}, 0, DType::f32, session.context);
    LayerContext shared{config, parameters, [](ParameterId) {}};
    const Positions positions(shared, StackId::main);
    const auto layer = make_attention(shared, {.key = {StackId::main, 0, Part::attention}}, positions);
    const KeyValueCache cache = layer->make_cache(3, 7, session.context);
    CHECK(cache.keys.shape() == Shape{3, 7, 10 + 4});
    CHECK(cache.values.empty());
}

TEST_CASE("attention: dropout changes training and not evaluation", "[unit]") {
    ModelConfig config = tiny_model();
    const auto plain = test::train({}, {.config = config, .steps = 2, .numerics = NumericsMode::fast});
    config.attention.dropout = 0.5;
    const auto dropped = test::train({}, {.config = config, .steps = 2, .numerics = NumericsMode::fast});
    CHECK(plain.loss[0] != dropped.loss[0]);
    check_decoding(config, tiny_moe());
}
