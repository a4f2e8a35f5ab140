// What models predict besides the next token: masked tokens, corrupted spans, tokens further ahead, small logits.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "model/objective/masking.hpp"
#include "model/objective/spans.hpp"
#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;
using test::check_decoding;
using test::check_gradients;
using test::check_layouts;
using test::tiny_model;
using test::tiny_moe;
using test::train;

namespace {

const RandomKey kKey{9, 4, 0, RandomPurpose::corruption};

MoeConfig all_experts() {
    MoeConfig moe = tiny_moe();
    moe.top_k = moe.experts;
    return moe;
}

struct Case {
    const char* name;
    void (*change)(ModelConfig&);
};

const Case kCases[] = {
    {"masked tokens, as BERT",
     [](ModelConfig& m) {
         m.architecture = Architecture::encoder;
         m.mask_fraction = 0.4;
         m.norm = NormKind::layer;
         m.norm_bias = true;
         m.norm_placement = NormPlacement::post;
         m.embedding_norm = true;
         m.position.kind = PositionKind::learned;
         m.activation = Activation::gelu;
         m.ffn_bias = true;
         m.tied_head = true;
         m.token_types = 2;
         m.head_transform = true;
         m.head_bias = true;
     }},
    {"corrupted spans, as T5",
     [](ModelConfig& m) {
         m.architecture = Architecture::encoder_decoder;
         m.mask_fraction = 0.35;
         m.span_length = 2;
         m.encoder_layers = 2;
         m.position.kind = PositionKind::t5;
         m.position.t5_buckets = 8;
         m.position.t5_max_distance = 16;
         m.activation = Activation::geglu_tanh;
         m.tied_head = true;
         m.logit_scale = 0.25;
     }},
    {"corrupted spans, norms behind sums, rotary positions",
     [](ModelConfig& m) {
         m.architecture = Architecture::encoder_decoder;
         m.norm_placement = NormPlacement::post;
         m.mask_fraction = 0.3;
     }},
    {"two tokens further, one embedding",
     [](ModelConfig& m) {
         m.mtp_depth = 2;
         m.tied_head = true;
     }},
    {"one token further, scaled embedding, norms of outputs",
     [](ModelConfig& m) {
         m.mtp_depth = 1;
         m.mtp_loss = 0.7;
         m.embedding_scale = 2.0;
         m.norm_placement = NormPlacement::outside;
         m.norm_eps = 0.05;
     }},
    {"one token further, norms behind sums",
     [](ModelConfig& m) {
         m.mtp_depth = 1;
         m.norm_placement = NormPlacement::post;
     }},
    {"soft cap and z-loss of the logits",
     [](ModelConfig& m) {
         m.logit_softcap = 1.5;
         m.logit_scale = 2.0;
         m.head_bias = true;
         m.output_z_loss = 0.05;
     }},
};

ModelConfig changed(const Case& which) {
    ModelConfig config = tiny_model();
    which.change(config);
    return config;
}

double loss_named(const PassResult& pass, const std::string& name) {
    const auto found = std::ranges::find(pass.extra_losses, name, &NamedLoss::name);
    REQUIRE(found != pass.extra_losses.end());
    return found->value;
}

/// Cross entropy of the rows that have a target.
struct LossSum {
    double loss = 0.0;
    double count = 0.0;
    void add(std::span<const float> logits, std::int32_t target) {
        if (target < 0) return;
        double sum = 0.0;
        for (const float value : logits) sum += std::exp(static_cast<double>(value));
        loss += std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
        count += 1.0;
    }
};

/// Two sequences on each of two ranks: an encoder reads them whole; a decoder is fed its own targets.
void read_or_decode(const Transformer& transformer, std::span<const std::int32_t> ids, const BatchInfo& batch,
                    const Context& context, LossSum& sum) {
    const ModelConfig& config = transformer.config();
    const PassInfo pass{.batch = batch, .use = Use::evaluate, .seed = 5};
    const RandomKey key = pass.random_of_step(RandomPurpose::corruption);
    if (config.architecture == Architecture::encoder) {
        std::vector<std::int32_t> text(ids.begin(), ids.begin() + config.seq_len);
        text.insert(text.end(), ids.begin() + config.seq_len + 1, ids.end() - 1);
        const MaskedTokens masked = mask_tokens(text, batch.first_token, key, config);
        const Tensor logits = transformer.read(masked.ids, config.seq_len, context);
        for (std::size_t t = 0; t < text.size(); ++t)
            sum.add(logits.matrix<float>().row_span(static_cast<index_t>(t)), masked.targets[t]);
        return;
    }
    const SpanBatch spans =
        corrupt_spans(ids, config.seq_len + 1, batch.first_token / config.seq_len, key, config);
    const SpanLengths lengths = span_lengths(config);
    const auto length = static_cast<std::size_t>(lengths.decoder);
    Transformer::Generation state =
        transformer.start_generation(spans.encoder_ids, lengths.encoder, lengths.decoder, context);
    for (std::size_t t = 0; t < length; ++t) {
        const std::vector<std::int32_t> column{spans.decoder_ids[t], spans.decoder_ids[length + t]};
        const Tensor logits = transformer.decode(column, state, context);
        for (std::size_t s = 0; s < 2; ++s)
            sum.add(logits.matrix<float>().row_span(static_cast<index_t>(s)), spans.targets[s * length + t]);
    }
}

std::pair<double, double> losses_both_ways(const ModelConfig& config) {
    std::pair<double, double> result;
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        test::Rank rank(world, 2, NumericsMode::fast, config, tiny_moe());
        const std::vector<std::int32_t> ids = test::tokens(2 * world.rank(), 2, config);
        const BatchInfo batch{2 * world.rank() * config.seq_len, 4 * config.seq_len, 0, 0, 1};
        LossSum sum;
        read_or_decode(rank.transformer, ids, batch, rank.session.context, sum);
        comm::all_reduce(world, std::span<double>(&sum.loss, 1));
        comm::all_reduce(world, std::span<double>(&sum.count, 1));
        const double whole = rank.transformer.evaluate(ids, batch, rank.session.context).token_loss;
        if (world.rank() == 0) result = {sum.loss / sum.count, whole};
        rank.groups.close();
    });
    return result;
}

bool mentions(const ModelConfig& config, const std::string& text) {
    MoeConfig moe = tiny_moe();
    return std::ranges::any_of(model_problems(config, moe), [&](const std::string& problem) {
        return problem.find(text) != problem.npos;
    });
}

}  // namespace

TEST_CASE("masking: shares are those of BERT, and depend on the global token alone", "[unit]") {
    ModelConfig config;
    config.vocab_size = 300;
    config.mask_fraction = 0.15;
    const std::vector<std::int32_t> ids(100000, 7);
    const MaskedTokens all = mask_tokens(ids, 50, kKey, config);
    double chosen = 0.0;
    double masked = 0.0;
    double other = 0.0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (all.targets[t] < 0) {
            REQUIRE(all.ids[t] == 7);
            continue;
        }
        REQUIRE(all.targets[t] == 7);
        chosen += 1.0;
        if (all.ids[t] == 299) masked += 1.0;
        if (all.ids[t] != 299 && all.ids[t] != 7) other += 1.0;
    }
    // Within four standard deviations.
    CHECK(chosen / 1e5 == Approx(0.15).margin(4.0 * std::sqrt(0.15 * 0.85 / 1e5)));
    CHECK(masked / chosen == Approx(0.8).margin(4.0 * std::sqrt(0.16 / chosen)));
    CHECK(other / chosen == Approx(0.1).margin(4.0 * std::sqrt(0.09 / chosen)));
    const MaskedTokens part = mask_tokens(std::span(ids).subspan(30, 500), 80, kKey, config);
    CHECK(std::equal(part.ids.begin(), part.ids.end(), all.ids.begin() + 30));
    CHECK(std::equal(part.targets.begin(), part.targets.end(), all.targets.begin() + 30));
}

TEST_CASE("spans: lengths are T5's, and both sides together are the text", "[unit]") {
    ModelConfig config;
    config.vocab_size = 300;
    config.seq_len = 512;
    SpanLengths lengths = span_lengths(config);
    CHECK(lengths.num_noise == 77);
    CHECK(lengths.num_spans == 26);
    CHECK(lengths.encoder == 461);
    CHECK(lengths.decoder == 104);
    // 14.5 of 50 tokens go up; in floating point 0.29 * 50 is a little less.
    config.seq_len = 50;
    config.mask_fraction = 0.29;
    CHECK(span_lengths(config).num_noise == 15);
    config.seq_len = 40;
    config.mask_fraction = 0.3;
    lengths = span_lengths(config);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 41 * 5; ++i) ids.push_back(i % 200);
    const SpanBatch batch = corrupt_spans(ids, 41, 3, kKey, config);
    REQUIRE(static_cast<index_t>(batch.encoder_ids.size()) == 5 * lengths.encoder);
    REQUIRE(static_cast<index_t>(batch.targets.size()) == 5 * lengths.decoder);
    for (index_t s = 0; s < 5; ++s) {
        const auto read = batch.encoder_ids.begin() + s * lengths.encoder;
        auto wanted = batch.targets.begin() + s * lengths.decoder;
        std::vector<std::int32_t> text;
        for (auto id = read; id != read + lengths.encoder; ++id) {
            if (*id < 200) {
                text.push_back(*id);
                continue;
            }
            REQUIRE(*wanted == *id);
            for (++wanted; *wanted < 200; ++wanted) text.push_back(*wanted);
        }
        CHECK(*wanted == 299 - lengths.num_spans);
        CHECK(std::equal(text.begin(), text.end(), ids.begin() + s * 41, ids.begin() + s * 41 + 40));
        const auto fed = batch.decoder_ids.begin() + s * lengths.decoder;
        CHECK(*fed == 299 - lengths.num_spans - 1);
        CHECK(std::equal(fed + 1, fed + lengths.decoder, batch.targets.begin() + s * lengths.decoder));
    }
    const SpanBatch later = corrupt_spans(std::span(ids).subspan(41), 41, 4, kKey, config);
    CHECK(std::equal(later.encoder_ids.begin(), later.encoder_ids.end(),
                     batch.encoder_ids.begin() + lengths.encoder));
    CHECK(corrupt_spans(ids, 41, 4, kKey, config).encoder_ids != batch.encoder_ids);
}

TEST_CASE("objectives: gradients agree with finite differences", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        check_gradients(config, all_experts(), Use::train);
        config.recompute = Recompute::block;
        config.dropout = 0.1;
        config.norm_eps = 0.05;
        check_gradients(config, all_experts(), Use::train);
    }
}

TEST_CASE("objectives: recomputation changes no bit, and bf16 learns what float32 learns", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        const auto plain = train({2, 2}, {.config = config, .steps = 3, .numerics = NumericsMode::fast});
        config.recompute = Recompute::block;
        CHECK(train({2, 2}, {.config = config, .steps = 3, .numerics = NumericsMode::fast}).loss ==
              plain.loss);
        config.dtype = DType::bf16;
        const auto rounded = train({2, 2}, {.config = config, .steps = 3, .numerics = NumericsMode::fast});
        for (std::size_t i = 0; i < 3; ++i) CHECK(rounded.loss[i] == Approx(plain.loss[i]).epsilon(0.03));
    }
}

TEST_CASE("objectives: with dropout, reproducible steps are bit-identical on every layout", "[unit]") {
    for (const Case& which : kCases) {
        INFO(which.name);
        ModelConfig config = changed(which);
        config.dropout = 0.1;
        MoeConfig moe = tiny_moe();
        moe.capacity_factor = 0.9;
        check_layouts({.config = config, .moe = moe, .steps = 8});
    }
}

TEST_CASE("objectives: reading a source and decoding gives the loss of a whole pass", "[unit]") {
    for (const Case& which : kCases) {
        const ModelConfig config = changed(which);
        if (config.architecture == Architecture::decoder) continue;
        INFO(which.name);
        const auto [decoded, whole] = losses_both_ways(config);
        CHECK(decoded == Approx(whole).epsilon(1e-5));
    }
}

TEST_CASE("multi-token prediction: the second token ahead is predicted, and only from what lies before it",
          "[unit]") {
    ModelConfig config = tiny_model();
    config.seq_len = 2;
    config.mtp_depth = 1;
    MoeConfig moe = tiny_moe();
    moe.layers = "none";
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::fast, config, moe);
        const BatchInfo batch{0, 2, 0, 0, 1};
        const auto mtp_loss = [&](std::vector<std::int32_t> ids) {
            return loss_named(rank.transformer.train(ids, batch, rank.session.context), "mtp_loss");
        };
        // Over all third tokens, the probabilities that the first row gives sum to 1: the third token is the target,
        // and nothing that is fed.
        double sum = 0.0;
        for (std::int32_t third = 0; third < config.vocab_size; ++third)
            sum += std::exp(-mtp_loss({3, 5, third}));
        CHECK(sum == Approx(1.0).epsilon(1e-5));
        // The second token is known.
        CHECK(mtp_loss({3, 5, 7}) != mtp_loss({3, 6, 7}));
    });
}

TEST_CASE("mixtures: blocks of every stack are counted in the order of their numbers", "[unit]") {
    ModelConfig config = tiny_model();
    config.mtp_depth = 2;
    MoeConfig moe = tiny_moe();
    CHECK(moe_blocks(moe, config) == std::vector<bool>{false, true, true, true});
    config.mtp_depth = 0;
    config.architecture = Architecture::encoder_decoder;
    config.encoder_layers = 3;
    moe.layers = "every:2";
    CHECK(moe_blocks(moe, config) == std::vector<bool>{false, true, false, true, false});
}

TEST_CASE("objectives: evaluation reports no multi-token loss, and the total is its parts", "[unit]") {
    ModelConfig config = tiny_model();
    config.mtp_depth = 1;
    config.output_z_loss = 0.01;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::fast, config, tiny_moe());
        const auto ids = test::tokens(0, 2, config);
        const BatchInfo batch{0, 2 * config.seq_len, 0, 0, 1};
        const PassResult trained = rank.transformer.train(ids, batch, rank.session.context);
        const PassResult seen = rank.transformer.evaluate(ids, batch, rank.session.context);
        CHECK(seen.token_loss == trained.token_loss);
        CHECK(loss_named(seen, "output_z_loss") > 1.0);
        CHECK(std::ranges::find(seen.extra_losses, "mtp_loss", &NamedLoss::name) == seen.extra_losses.end());
        double total = trained.token_loss;
        for (const NamedLoss& loss : trained.extra_losses) total += loss.coefficient * loss.value;
        CHECK(trained.total == Approx(total));
        CHECK(loss_named(trained, "mtp_loss") == Approx(std::log(23.0)).epsilon(0.3));
    });
}

TEST_CASE("objectives: decoding caps logits as a whole pass does", "[unit]") {
    ModelConfig config = tiny_model();
    config.logit_softcap = 1.0;
    config.mtp_depth = 1;
    check_decoding(config, tiny_moe());
}

TEST_CASE("objectives: what cannot be built is refused with its remedy", "[unit]") {
    ModelConfig config = tiny_model();
    config.architecture = Architecture::encoder;
    config.vocab_size = 256;
    CHECK(mentions(config, "set it to at least 257"));
    config.vocab_size = 257;
    CHECK(model_problems(config, tiny_moe()).empty());
    config.mtp_depth = 1;
    CHECK(mentions(config, "model.mtp_depth predicts tokens after the next one"));
    config.mtp_depth = 0;
    config.architecture = Architecture::encoder_decoder;
    CHECK(mentions(config, "model.vocab_size = 257 has no room for 3 ids"));
    config.vocab_size = 259;
    CHECK(model_problems(config, tiny_moe()).empty());
    config.wiring = Wiring::parallel;
    CHECK(mentions(config, "model.wiring = parallel has no place for cross-attention"));
    config.wiring = Wiring::serial;
    config.mask_fraction = 0.8;
    config.span_length = 1;
    CHECK(mentions(config, "leaves no room between them"));
    config.mask_fraction = 0.15;
    config.span_length = 3;
    config.attention.window = 4;
    CHECK(mentions(config, "attention.window is for causal attention"));
    MoeConfig moe = tiny_moe();
    moe.router = "reinforce";
    const std::vector<std::string> problems = model_problems(config, moe);
    CHECK(std::ranges::any_of(problems, [](const std::string& problem) {
        return problem.find("which only a decoder has") != problem.npos;
    }));
    config = tiny_model();
    config.mtp_depth = config.seq_len;
    CHECK(mentions(config, "looks beyond sequences of 12 tokens"));
}
