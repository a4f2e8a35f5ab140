#include "tests/oracle/variants.hpp"

#include "kernels/core/philox.hpp"
#include "kernels/ops/activation/kind.hpp"
#include "model/objective/masking.hpp"
#include "model/objective/spans.hpp"

namespace sy::test {
namespace {

using runtime::Json;

/// One dense layer and two mixtures; capacity that drops; every loss and rule of the optimizer at work.
Variant with_capacity() {
    Variant variant;
    model::ModelConfig& model = variant.model;
    model.vocab_size = 61;
    model.hidden = 48;
    model.layers = 3;
    model.heads = 4;
    model.kv_heads = 2;
    model.ffn_width = 72;
    model.seq_len = 16;
    model.init_std = 0.15;
    model.norm_eps = 1e-3;
    model.position.rope_theta = 100.0;
    model::MoeConfig& moe = variant.moe;
    moe.layers = "1,2";
    moe.experts = 6;
    moe.top_k = 2;
    moe.expert_width = 20;
    moe.shared_experts = 1;
    moe.capacity_factor = 0.9;
    moe.balance.switch_loss = 0.05;
    moe.balance.z_loss = 0.01;
    runtime::OptimizerConfig& optimizer = variant.optimizer;
    optimizer.lr = 4e-3;
    optimizer.warmup_steps = 2;
    optimizer.weight_decay = 0.2;
    optimizer.clip_norm = 5.0;
    // Far above the rounding of a gradient: with a small one, AdamW makes full steps of gradients that are nearly zero.
    optimizer.eps = 1e-4;
    return variant;
}

/// Nothing dropped, weights as the softmax left them, heads that are wider than hidden / heads.
Variant dropless() {
    Variant variant = with_capacity();
    variant.model.head_dim = 16;
    variant.model.kv_heads = 1;
    variant.moe.top_k = 3;
    variant.moe.shared_experts = 2;
    variant.moe.capacity_factor = 0.0;
    variant.moe.renormalise = false;
    return variant;
}

/// Blocks of another wiring, and a gelu without gate.
Variant wired(model::NormPlacement placement, model::Wiring wiring) {
    Variant variant = dropless();
    variant.model.norm_placement = placement;
    variant.model.wiring = wiring;
    variant.model.activation = model::Activation::gelu;
    variant.model.embedding_scale = 1.25;
    return variant;
}

/// LayerNorm with biases, learned positions, biases of feed-forwards, one embedding at both ends.
Variant gpt2() {
    Variant variant = dropless();
    variant.model.norm = model::NormKind::layer;
    variant.model.norm_bias = true;
    variant.model.activation = model::Activation::gelu_tanh;
    variant.model.ffn_bias = true;
    variant.model.position.kind = model::PositionKind::learned;
    variant.model.embedding_norm = true;
    variant.model.tied_head = true;
    return variant;
}

/// Capped logits with a z-loss, and two tokens predicted beyond the next one.
Variant with_objectives() {
    Variant variant = dropless();
    variant.model.logit_softcap = 2.0;
    variant.model.output_z_loss = 0.02;
    variant.model.mtp_depth = 2;
    variant.model.mtp_loss = 0.4;
    return variant;
}

/// DeepSeek-V3's router: sigmoid scores, groups by their best experts, a bias that learns, the sequence-wise loss.
Variant deepseek_v3() {
    Variant variant = dropless();
    variant.moe.router = "group_limited";
    variant.moe.experts = 12;
    variant.moe.top_k = 4;
    variant.moe.groups = 4;
    variant.moe.group_limit = 2;
    variant.moe.group_score = model::GroupScore::top_sum;
    variant.moe.score = model::Score::sigmoid;
    variant.moe.renormalise = true;
    variant.moe.routed_scale = 2.5;
    variant.moe.balance.bias_rate = 0.02;
    variant.moe.balance.sequence_loss = 0.3;
    return variant;
}

/// DeepSeek-V2's: groups by their best expert, device and communication losses; Shazeer's importance loss besides.
Variant deepseek_v2() {
    Variant variant = deepseek_v3();
    variant.model.init_std = 0.16;  // a draw in which no two scores lie within float rounding of a tie
    variant.moe.group_score = model::GroupScore::highest;
    variant.moe.score = model::Score::softmax;
    variant.moe.renormalise = false;
    variant.moe.balance.bias_rate = 0.0;
    variant.moe.balance.sequence_loss = 0.0;
    variant.moe.balance.device_loss = 0.4;
    variant.moe.balance.communication_loss = 0.3;
    variant.moe.balance.importance_loss = 0.2;
    return variant;
}

/// V3's scores with V2's losses.
Variant sigmoid_losses() {
    Variant variant = deepseek_v3();
    variant.model.init_std = 0.16;
    variant.moe.balance.sequence_loss = 0.0;
    variant.moe.balance.device_loss = 0.4;
    variant.moe.balance.communication_loss = 0.3;
    return variant;
}

/// Multi-head latent attention as DeepSeek-V2 has it, queries compressed too.
Variant latent() {
    Variant variant = dropless();
    variant.model.kv_heads = variant.model.heads;
    variant.model.head_dim = 12;
    variant.model.attention.kind = model::AttentionKind::latent;
    variant.model.attention.query_rank = 28;
    variant.model.attention.kv_rank = 20;
    variant.model.attention.rope_dim = 8;
    variant.model.attention.value_dim = 10;
    variant.model.position.rope_pairs = model::RopePairs::interleaved;
    return variant;
}

/// What Gemma 2 and OLMoE do to scores: windows in every second layer, a soft cap, a scale, norms of queries and keys;
/// of each head three quarters turn.
Variant scores() {
    Variant variant = dropless();
    variant.model.attention.window = 5;
    variant.model.attention.window_layers = "every:2";
    variant.model.attention.softcap = 1.5;
    variant.model.attention.scale = 0.4;
    variant.model.attention.qk_norm = model::QkNorm::head;
    variant.model.position.rope_fraction = 0.75;
    return variant;
}

Variant positioned(model::PositionKind kind) {
    Variant variant = dropless();
    variant.model.position.kind = kind;
    variant.model.position.t5_buckets = 8;
    variant.model.position.t5_max_distance = 13;
    return variant;
}

/// Masked tokens as BERT has them: norms behind sums, LayerNorm, biases, a norm of the embedding.
Variant bert() {
    Variant variant = gpt2();
    variant.model.init_std = 0.18;  // a draw in which no two scores lie within float rounding of a tie
    variant.model.architecture = model::Architecture::encoder;
    variant.model.mask_fraction = 0.4;
    variant.model.norm_placement = model::NormPlacement::post;
    return variant;
}

/// Span corruption as in T5: an encoder of its own depth, relative buckets in both stacks, drops in both mixtures.
Variant t5() {
    Variant variant = positioned(model::PositionKind::t5);
    variant.model.init_std = 0.18;  // a draw in which no two scores lie within float rounding of a tie
    variant.model.architecture = model::Architecture::encoder_decoder;
    variant.model.mask_fraction = 0.35;
    variant.model.span_length = 2;
    variant.model.encoder_layers = 4;
    variant.model.tied_head = true;
    variant.model.embedding_scale = 0.8;
    variant.moe.capacity_factor = 0.9;
    return variant;
}

/// The first Transformer's order of norms between two stacks, and rotated positions, which cross-attention must leave
/// alone.
Variant transformer_2017() {
    Variant variant = t5();
    variant.model.norm_placement = model::NormPlacement::post;
    variant.model.position.kind = model::PositionKind::rope;
    variant.model.activation = model::Activation::gelu;
    return variant;
}

const char* architecture_name(model::Architecture architecture) {
    switch (architecture) {
        case model::Architecture::decoder:
            return "decoder";
        case model::Architecture::encoder:
            return "encoder";
        case model::Architecture::encoder_decoder:
            break;
    }
    return "encoder_decoder";
}

const char* position_name(model::PositionKind kind) {
    switch (kind) {
        case model::PositionKind::rope:
            return "rope";
        case model::PositionKind::learned:
            return "learned";
        case model::PositionKind::alibi:
            return "alibi";
        case model::PositionKind::t5:
            return "t5";
        default:
            return "not in the reference";
    }
}

Json::Array windowed_layers(const model::ModelConfig& model) {
    const std::string pattern = model.attention.window > 0 ? model.attention.window_layers : "none";
    Json::Array windowed;
    for (const bool is : model::layer_pattern("attention.window_layers", pattern, model.layers))
        windowed.push_back(is);
    return windowed;
}

const char* placement_name(model::NormPlacement placement) {
    switch (placement) {
        case model::NormPlacement::pre:
            return "pre";
        case model::NormPlacement::post:
            return "post";
        case model::NormPlacement::both:
            return "both";
        case model::NormPlacement::outside:
            break;
    }
    return "outside";
}

}  // namespace

std::vector<std::int32_t> Variant::tokens(index_t step, index_t micro_step, Range sequences) const {
    const index_t length = model.seq_len + 1;
    const index_t before = ((step - 1) * accumulation + micro_step) * kSequences;
    std::vector<std::int32_t> ids;
    for (index_t i = (before + sequences.begin) * length; i < (before + sequences.end) * length; ++i) {
        const float u = uniform({kSeed, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(i));
        // Squared: frequent and rare tokens, so that experts are loaded unevenly.
        ids.push_back(static_cast<std::int32_t>(u * u * static_cast<float>(model.vocab_size)));
    }
    return ids;
}

Variant::Corrupted Variant::corrupted(index_t step, index_t micro_step, Range sequences) const {
    const model::PassInfo pass{.batch = {sequences.begin * model.seq_len, kSequences * model.seq_len, step,
                                         micro_step, accumulation},
                               .seed = kSeed};
    const index_t first_token = pass.batch.first_token_of_step();
    const RandomKey key = pass.random_of_step(RandomPurpose::corruption);
    const std::vector<std::int32_t> text = tokens(step, micro_step, sequences);
    if (model.architecture == model::Architecture::encoder_decoder) {
        model::SpanBatch spans =
            corrupt_spans(text, model.seq_len + 1, first_token / model.seq_len, key, model);
        return {std::move(spans.decoder_ids), std::move(spans.targets), std::move(spans.encoder_ids)};
    }
    std::vector<std::int32_t> seen;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (static_cast<index_t>(i) % (model.seq_len + 1) < model.seq_len) seen.push_back(text[i]);
    model::MaskedTokens masked = mask_tokens(seen, first_token, key, model);
    return {std::move(masked.ids), std::move(masked.targets), {}};
}

index_t Variant::num_rows() const {
    return model.architecture == model::Architecture::encoder_decoder ? span_lengths(model).decoder
                                                                      : model.seq_len;
}

runtime::Json Variant::describe() const {
    Json::Array batches;
    Json::Array corrupted_batches;
    for (index_t step = 1; step <= kSteps; ++step) {
        Json::Array micro_batches;
        Json::Array corrupted_micro_batches;
        for (index_t micro = 0; micro < accumulation; ++micro) {
            micro_batches.push_back(runtime::json_array(tokens(step, micro, {0, kSequences})));
            if (model.architecture == model::Architecture::decoder) continue;
            const Corrupted rows = corrupted(step, micro, {0, kSequences});
            corrupted_micro_batches.push_back(Json::Object{{"ids", runtime::json_array(rows.ids)},
                                                           {"targets", runtime::json_array(rows.targets)},
                                                           {"source", runtime::json_array(rows.source)}});
        }
        batches.push_back(micro_batches);
        corrupted_batches.push_back(corrupted_micro_batches);
    }
    return Json::Object{
        {"name", name},
        {"numerics", numerics == NumericsMode::fast ? "fast" : "reproducible"},
        {"ranks", ranks},
        {"expert_parallel", expert_parallel},
        {"accumulation", accumulation},
        {"planned_steps", kPlannedSteps},
        {"sequences", kSequences},
        {"model", Json::Object{{"architecture", architecture_name(model.architecture)},
                               {"encoder_layers", model.num_encoder_layers()},
                               {"vocab_size", model.vocab_size},
                               {"hidden", model.hidden},
                               {"layers", model.layers},
                               {"heads", model.heads},
                               {"kv_heads", model.kv_heads},
                               {"head_dim", model.head_width()},
                               {"ffn_width", model.ffn_width},
                               {"seq_len", model.seq_len},
                               {"position", position_name(model.position.kind)},
                               {"rope_theta", model.position.rope_theta},
                               {"rope_fraction", model.position.rope_fraction},
                               {"rope_half_split", model.position.rope_pairs == model::RopePairs::half_split},
                               {"t5_buckets", model.position.t5_buckets},
                               {"t5_max_distance", model.position.t5_max_distance},
                               {"latent", model.attention.kind == model::AttentionKind::latent},
                               {"query_rank", model.attention.query_rank},
                               {"kv_rank", model.attention.kv_rank},
                               {"rope_dim", model.attention.rope_dim},
                               {"value_dim", model.attention.value_dim},
                               {"window", model.attention.window},
                               {"windowed", windowed_layers(model)},
                               {"attention_softcap", model.attention.softcap},
                               {"attention_scale", model.attention.scale},
                               {"qk_norm", model.attention.qk_norm != model::QkNorm::none},
                               {"norm_eps", model.norm_eps},
                               {"tied_head", model.tied_head},
                               {"layer_norm", model.norm == model::NormKind::layer},
                               {"norm_bias", model.norm_bias},
                               {"norm_placement", placement_name(model.norm_placement)},
                               {"parallel", model.wiring == model::Wiring::parallel},
                               {"activation", ops::activation_name(model.activation)},
                               {"ffn_bias", model.ffn_bias},
                               {"embedding_scale", model.embedding_scale},
                               {"embedding_norm", model.embedding_norm},
                               {"logit_softcap", model.logit_softcap},
                               {"output_z_loss", model.output_z_loss},
                               {"mtp_depth", model.mtp_depth},
                               {"mtp_loss", model.mtp_loss}}},
        {"moe", Json::Object{{"layers", moe.layers},
                             {"experts", moe.experts},
                             {"top_k", moe.top_k},
                             {"expert_width", moe.expert_width},
                             {"shared_experts", moe.shared_experts},
                             {"renormalise", moe.renormalise},
                             {"capacity_factor", moe.capacity_factor},
                             {"min_capacity", moe.min_capacity},
                             {"group_limited", moe.router == "group_limited"},
                             {"groups", moe.groups},
                             {"group_limit", moe.group_limit},
                             {"group_sum", moe.group_score == model::GroupScore::top_sum},
                             {"sigmoid", moe.score == model::Score::sigmoid},
                             {"routed_scale", moe.routed_scale},
                             {"bias_rate", moe.balance.bias_rate},
                             {"sequence_loss", moe.balance.sequence_loss},
                             {"device_loss", moe.balance.device_loss},
                             {"communication_loss", moe.balance.communication_loss},
                             {"importance_loss", moe.balance.importance_loss},
                             {"balance_loss", moe.balance.switch_loss},
                             {"z_loss", moe.balance.z_loss}}},
        {"optimizer", Json::Object{{"lr", optimizer.lr},
                                   {"min_lr_ratio", optimizer.min_lr_ratio},
                                   {"warmup_steps", optimizer.warmup_steps},
                                   {"beta1", optimizer.beta1},
                                   {"beta2", optimizer.beta2},
                                   {"eps", optimizer.eps},
                                   {"weight_decay", optimizer.weight_decay},
                                   {"clip_norm", optimizer.clip_norm}}},
        {"tokens", batches},
        {"corrupted", corrupted_batches}};
}

std::vector<Variant> oracle_variants() {
    std::vector<Variant> variants;
    const auto add = [&](const std::string& name, Variant variant, NumericsMode numerics, int ranks,
                         int expert_parallel) {
        variant.name = name;
        variant.numerics = numerics;
        variant.ranks = ranks;
        variant.expert_parallel = expert_parallel;
        variants.push_back(std::move(variant));
    };
    Variant tied = with_capacity();
    tied.model.tied_head = true;
    tied.accumulation = 2;
    Variant masked = bert();
    masked.accumulation = 2;
    using enum NumericsMode;
    add("capacity-fast", with_capacity(), fast, 1, 1);
    add("capacity-reproducible", with_capacity(), reproducible, 1, 1);
    add("capacity-fast-4-ranks", with_capacity(), fast, 4, 2);
    add("tied-accumulated-fast", tied, fast, 1, 1);
    add("tied-accumulated-reproducible", tied, reproducible, 1, 1);
    add("tied-accumulated-fast-2-ranks", tied, fast, 2, 2);
    add("dropless-fast", dropless(), fast, 1, 1);
    add("dropless-reproducible", dropless(), reproducible, 1, 1);
    add("dropless-reproducible-3-ranks", dropless(), reproducible, 3, 3);
    using model::NormPlacement;
    using model::Wiring;
    add("post-norm", wired(NormPlacement::post, Wiring::serial), fast, 1, 1);
    add("both-norms", wired(NormPlacement::both, Wiring::serial), fast, 1, 1);
    Variant outside = wired(NormPlacement::outside, Wiring::serial);
    outside.model.embedding_scale = 0.8;
    add("outside-norms", outside, reproducible, 2, 2);
    add("parallel", wired(NormPlacement::pre, Wiring::parallel), fast, 1, 1);
    add("gpt2", gpt2(), fast, 1, 1);
    add("objectives", with_objectives(), fast, 1, 1);
    add("deepseek-v3", deepseek_v3(), fast, 1, 1);
    add("deepseek-v3-4-ranks", deepseek_v3(), reproducible, 4, 2);
    add("deepseek-v2", deepseek_v2(), fast, 2, 2);
    add("sigmoid-losses", sigmoid_losses(), fast, 2, 2);
    add("latent-attention", latent(), fast, 1, 1);
    add("scores", scores(), reproducible, 2, 2);
    add("alibi", positioned(model::PositionKind::alibi), fast, 1, 1);
    add("t5-buckets", positioned(model::PositionKind::t5), fast, 2, 2);
    add("bert", bert(), fast, 1, 1);
    add("bert-accumulated-2-ranks", masked, reproducible, 2, 2);
    add("t5", t5(), fast, 1, 1);
    add("t5-3-ranks", t5(), reproducible, 3, 3);
    add("transformer-2017", transformer_2017(), fast, 2, 1);
    return variants;
}

}  // namespace sy::test
