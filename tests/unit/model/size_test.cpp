// Sizes of models: against what is built, against closed forms, and against what their authors published.
#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <set>

#include "comm/local/local_fabric.hpp"
#include "model/families/preset.hpp"
#include "tests/unit/model/tiny_model.hpp"

using namespace sy;
using namespace sy::model;
using test::Rank;
using test::tiny_model;
using test::tiny_moe;

namespace {

struct Variant {
    std::string name;
    ModelConfig model;
    MoeConfig moe;
};

/// Every option that adds or removes parameters, in turn.
std::vector<Variant> variants() {
    std::vector<Variant> all;
    const auto add = [&](const char* name, const auto& change) {
        Variant variant{name, tiny_model(), tiny_moe()};
        change(variant.model, variant.moe);
        all.push_back(std::move(variant));
    };
    const auto encoder_decoder = [](ModelConfig& m) {
        m.architecture = Architecture::encoder_decoder;
        m.encoder_layers = 3;
        m.vocab_size = 300;
    };
    add("plain", [](ModelConfig&, MoeConfig&) {});
    add("dense", [](ModelConfig&, MoeConfig& e) { e.layers = "none"; });
    add("tied head", [](ModelConfig& m, MoeConfig&) { m.tied_head = true; });
    add("wide heads", [](ModelConfig& m, MoeConfig&) { m.head_dim = 10; });
    add("no shared experts", [](ModelConfig&, MoeConfig& e) { e.shared_experts = 0; });
    add("norm_bias", [](ModelConfig& m, MoeConfig&) { m.norm_bias = true; });
    add("layer norm", [](ModelConfig& m, MoeConfig&) {
        m.norm = NormKind::layer;
        m.norm_bias = true;
    });
    add("post", [](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::post; });
    add("both", [](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::both; });
    add("outside", [](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::outside; });
    add("parallel", [](ModelConfig& m, MoeConfig&) { m.wiring = Wiring::parallel; });
    add("embedding norm", [](ModelConfig& m, MoeConfig&) { m.embedding_norm = true; });
    add("relu with biases", [](ModelConfig& m, MoeConfig&) {
        m.activation = Activation::relu;
        m.ffn_bias = true;
    });
    add("swiglu with biases", [](ModelConfig& m, MoeConfig&) { m.ffn_bias = true; });
    add("biases of q, k, v", [](ModelConfig& m, MoeConfig&) { m.attention.bias = Biases::query_key_value; });
    add("all biases", [](ModelConfig& m, MoeConfig&) { m.attention.bias = Biases::all; });
    add("qk_norm", [](ModelConfig& m, MoeConfig&) { m.attention.qk_norm = QkNorm::head; });
    add("norm of all heads together",
        [](ModelConfig& m, MoeConfig&) { m.attention.qk_norm = QkNorm::projection; });
    add("a gate on the shared experts", [](ModelConfig&, MoeConfig& e) { e.shared_gate = true; });
    add("token types", [](ModelConfig& m, MoeConfig&) { m.token_types = 2; });
    add("a head with a bias", [](ModelConfig& m, MoeConfig&) { m.head_bias = true; });
    add("a head with bias and transform, tied", [](ModelConfig& m, MoeConfig&) {
        m.head_bias = m.head_transform = m.tied_head = true;
        m.activation = Activation::gelu;
    });
    add("two predicted tokens, head with a bias", [](ModelConfig& m, MoeConfig&) {
        m.mtp_depth = 2;
        m.head_bias = true;
    });
    add("learned positions", [](ModelConfig& m, MoeConfig&) { m.position.kind = PositionKind::learned; });
    add("t5 positions", [](ModelConfig& m, MoeConfig&) { m.position.kind = PositionKind::t5; });
    add("latent", [](ModelConfig& m, MoeConfig&) {
        m.kv_heads = m.heads;
        m.attention.kind = AttentionKind::latent;
        m.attention.kv_rank = 6;
        m.attention.rope_dim = 2;
        m.attention.value_dim = 6;
    });
    add("latent with compressed queries", [](ModelConfig& m, MoeConfig&) {
        m.kv_heads = m.heads;
        m.attention.kind = AttentionKind::latent;
        m.attention.query_rank = 8;
        m.attention.kv_rank = 6;
        m.attention.rope_dim = 2;
    });
    add("two predicted tokens", [](ModelConfig& m, MoeConfig&) { m.mtp_depth = 2; });
    add("encoder", [](ModelConfig& m, MoeConfig&) {
        m.architecture = Architecture::encoder;
        m.vocab_size = 300;
    });
    add("encoder and decoder", [&](ModelConfig& m, MoeConfig&) { encoder_decoder(m); });
    add("encoder and decoder, t5", [&](ModelConfig& m, MoeConfig&) {
        encoder_decoder(m);
        m.position.kind = PositionKind::t5;
        m.attention.bias = Biases::all;
    });
    add("encoder and decoder, post", [&](ModelConfig& m, MoeConfig&) {
        encoder_decoder(m);
        m.norm_placement = NormPlacement::post;
    });
    add("learned noise", [](ModelConfig&, MoeConfig& e) { e.noise = LogitNoise::learned; });
    add("hash", [](ModelConfig&, MoeConfig& e) {
        e.router = "hash";
        e.balance.switch_loss = e.balance.z_loss = 0.0;
    });
    add("reinforce", [](ModelConfig&, MoeConfig& e) { e.router = "reinforce"; });
    add("expert choice", [](ModelConfig&, MoeConfig& e) {
        e.router = "expert_choice";
        e.allow_noncausal = true;
        e.balance.switch_loss = 0.0;
    });
    add("base", [](ModelConfig&, MoeConfig& e) {
        e.router = "base";
        e.top_k = 1;
        e.balance.switch_loss = 0.0;
    });
    return all;
}

/// How often each parameter's gradient is complete in one training pass of two sequences, by name.
std::map<std::string, index_t> completions(const Variant& variant) {
    std::map<std::string, index_t> count;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Rank rank(world, 1, NumericsMode::fast, variant.model, variant.moe);
        for (const ParameterSpec& spec : rank.parameters.specs()) count[spec.name] = 0;
        rank.transformer.on_gradient_ready([&](ParameterId id) { ++count[rank.parameters.spec(id).name]; });
        rank.transformer.train(test::tokens(0, 2, variant.model), {0, 2 * variant.model.seq_len, 1, 0, 1},
                               rank.session.context);
        rank.groups.close();
    });
    return count;
}

/// What one more of the last published digit is worth.
double last_digit(const PublishedSize& published) {
    return std::pow(10.0, std::floor(std::log10(published.value)) - published.digits + 1);
}

bool agrees(index_t ours, const PublishedSize& published) {
    const auto size = static_cast<double>(ours);
    if (published.digits == 0) return size == published.value;
    return std::abs(size - published.value) <= last_digit(published) / 2.0;
}

/// Of active parameters some authors count the embedding and some do not, some round and some cut.
bool active_agrees(index_t ours, index_t embedding, const PublishedSize& published) {
    const auto close = [&](index_t size) {
        return std::abs(static_cast<double>(size) - published.value) <= last_digit(published);
    };
    return close(ours) || close(ours - embedding);
}

}  // namespace

TEST_CASE("blueprint: every parameter belongs to a layer that trains it, option by option", "[unit]") {
    for (const Variant& variant : variants()) {
        INFO(variant.name);
        REQUIRE(model_problems(variant.model, variant.moe) == std::vector<std::string>{});
        for (const auto& [name, times] : completions(variant)) {
            INFO(name);
            CHECK(times == 1);
        }
    }
}

TEST_CASE("model_size: what each option adds", "[unit]") {
    const auto total = [](const auto& change) {
        ModelConfig model = tiny_model();
        MoeConfig moe = tiny_moe();
        change(model, moe);
        return model_size(model, moe).total_parameters;
    };
    // hidden 16, 2 layers, 4 heads of 4 with 2 of keys, ffn 24, sequence 12; layer 1 is the mixture.
    const index_t plain = total([](ModelConfig&, MoeConfig&) {});
    const auto added = [&](const auto& change) { return total(change) - plain; };
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.norm_bias = true; }) == 5 * 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::post; }) == -16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::both; }) == 4 * 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.norm_placement = NormPlacement::outside; }) == 0);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.wiring = Wiring::parallel; }) == -2 * 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.embedding_norm = true; }) == 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.ffn_bias = true; }) == 2 * 24 + 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.activation = Activation::gelu; }) ==
          -16 * 24 - 6 * 16 * 8);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.attention.bias = Biases::query_key_value; }) == 2 * 32);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.attention.bias = Biases::all; }) == 2 * 48);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.attention.qk_norm = QkNorm::head; }) == 2 * 2 * 4);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.position.kind = PositionKind::learned; }) == 12 * 16);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.position.kind = PositionKind::t5; }) == 32 * 4);
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.tied_head = true; }) == -23 * 16);
    CHECK(added([](ModelConfig&, MoeConfig& e) { e.router = "hash"; }) == -16 * 5);
    CHECK(added([](ModelConfig&, MoeConfig& e) { e.noise = LogitNoise::learned; }) == 16 * 5);
    CHECK(added([](ModelConfig&, MoeConfig& e) { e.balance.bias_rate = 1e-3; }) == 0);
    // Attention was 16 * 4 * (8 + 4) = 768; latent: q 16 * 4 * 6, kv_a 16 * 8, norm 6, kv_b 6 * 4 * (4 + 6), o 24 * 16.
    CHECK(added([](ModelConfig& m, MoeConfig&) {
              m.attention.kind = AttentionKind::latent;
              m.attention.kv_rank = 6;
              m.attention.rope_dim = 2;
              m.attention.value_dim = 6;
          }) == 2 * (384 + 128 + 6 + 240 + 384 - 768));
    // A module: projection 32 * 16, two norms, attention, two norms of the block, and the mixture.
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.mtp_depth = 1; }) ==
          512 + 32 + 768 + 32 + 80 + 6 * 3 * 16 * 8);
    // Two encoder layers more, their final norm, and cross attention with its norm in two layers.
    const index_t layers = 2 * (768 + 32) + 3 * 16 * 24 + 80 + 6 * 3 * 16 * 8;
    CHECK(added([](ModelConfig& m, MoeConfig&) { m.architecture = Architecture::encoder_decoder; }) ==
          layers + 16 + 2 * (768 + 16));
}

TEST_CASE("model_size: products of a token, counted by hand", "[unit]") {
    ModelConfig model = tiny_model();
    MoeConfig moe = tiny_moe();
    const auto flops = [&] { return model_size(model, moe).forward_flops_per_token; };
    // Projections, dense layer, router with one shared and two routed experts of 5, head, scores over half of 12 keys.
    const double projections = 2 * 768 + 3 * 16 * 24 + 80 + 3 * (3 * 16 * 8) + 23 * 16;
    CHECK(flops() == 2.0 * (projections + 2 * 4 * 8 * 6));
    // A window of 4 in the second layer: 4 - 16 / 24 keys.
    model.attention.window = 4;
    model.attention.window_layers = "every:2";
    CHECK(flops() == Approx(2.0 * (projections + 4 * 8 * 6 + 4 * 8 * (4.0 - 16.0 / 24.0))));
    model.attention.window = 0;
    model.architecture = Architecture::encoder;
    CHECK(flops() == 2.0 * (projections + 2 * 4 * 8 * 12));
    model.architecture = Architecture::encoder_decoder;
    model.mask_fraction = 0.25;
    model.span_length = 1;
    // Every second token of the decoder stands for a span; the encoder keeps its length.
    const double encoder = projections - 23 * 16 + 2 * 4 * 8 * 12;
    const double decoder = projections + 2 * 4 * 8 * 3 + 2 * (512 + 4 * 8 * 12);
    CHECK(flops() == Approx(2.0 * (encoder + 2 * 256 + 0.5 * decoder)));
}

// The exact totals, but deepseek-moe-16b's, are also what transformers 5.24.0 counts (tests/oracle/transformers_sizes).
TEST_CASE("presets: parameters are those that were published", "[unit]") {
    std::set<std::string> names;
    for (const Preset& preset : presets()) {
        INFO(preset.name);
        CHECK(names.insert(preset.name).second);
        CHECK(!preset.source.empty());
        const ModelSize size = model_size(preset.model, preset.moe);
        CHECK(preset.total.value > 0.0);
        CHECK(agrees(size.total_parameters - size.mtp_parameters + preset.beyond_parameters, preset.total));
        CHECK((preset.beyond_parameters == 0 || !preset.beyond.empty()));
        if (preset.active.value > 0.0) {
            const index_t embedding = preset.model.vocab_size * preset.model.hidden;
            CHECK(active_agrees(size.active_parameters, embedding, preset.active));
        }
        CHECK(model_problems(preset.model, preset.moe) == std::vector<std::string>{});
    }
    CHECK(names.size() >= 35);
    CHECK(!find_preset("gpt-5"));
    CHECK(find_preset("mixtral-8x7b")->moe.expert_width == 14336);
}

TEST_CASE("presets: a comparison with published sizes notices a changed digit", "[unit]") {
    CHECK(agrees(46'702'792'704, {46'702'792'704.0, 0}));
    CHECK(!agrees(46'702'792'705, {46'702'792'704.0, 0}));
    CHECK(agrees(12'879'925'248, {12.9e9, 3}));
    CHECK(!agrees(12'840'000'000, {12.9e9, 3}));
}

TEST_CASE("scale_down: a small model of the same structure", "[unit]") {
    for (const Preset& preset : presets()) {
        INFO(preset.name);
        ModelConfig model = preset.model;
        MoeConfig moe = preset.moe;
        scale_down(model, moe);
        CHECK(model_problems(model, moe) == std::vector<std::string>{});
        CHECK(model_size(model, moe).total_parameters < 5'000'000);
        CHECK(model.vocab_size == (model.architecture == Architecture::decoder ? 256 : 320));
        CHECK(model.architecture == preset.model.architecture);
        CHECK(model.activation == preset.model.activation);
        CHECK(model.norm_placement == preset.model.norm_placement);
        CHECK(model.position.kind == preset.model.position.kind);
        CHECK((model.kv_heads == model.heads) == (preset.model.kv_heads == preset.model.heads));
        CHECK((model.kv_heads == 1) == (preset.model.kv_heads == 1));
        CHECK(moe.layers.substr(0, 3) == preset.moe.layers.substr(0, 3));
        CHECK((moe.shared_experts > 0) == (preset.moe.shared_experts > 0));
        CHECK((moe.groups > 0) == (preset.moe.groups > 0));
        CHECK(model_notes(moe).empty());
        CHECK(model_notes(preset.moe).empty());
        if (moe.groups > 0) {
            CHECK(moe.group_limit < moe.groups);
            CHECK(moe.experts % moe.groups == 0);
            CHECK(moe.top_k <= moe.group_limit * (moe.experts / moe.groups));
        }
        const index_t stack = model.num_decoder_layers() + model.num_encoder_layers();
        CHECK(stack >= 2);
        const auto ratio = static_cast<double>(model.ffn_width) / static_cast<double>(model.hidden);
        const double original =
            static_cast<double>(preset.model.ffn_width) / static_cast<double>(preset.model.hidden);
        CHECK(ratio == Approx(std::min(original, 16.0)).epsilon(0.15));
    }
}
