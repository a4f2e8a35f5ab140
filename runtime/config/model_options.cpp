#include "model/moe/router/strategy.hpp"
#include "runtime/config/option_sections.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kMostLayers = 10000;

void model_options(OptionTable& table, model::ModelConfig& model) {
    using enum model::Recompute;
    using model::Architecture;
    using model::NormKind;
    using model::NormPlacement;
    using model::Wiring;
    table.choice<Architecture>(
        {"model.architecture", "",
         "decoder: next token; encoder: masked tokens; encoder_decoder: corrupted spans"},
        model.architecture,
        {{"decoder", Architecture::decoder},
         {"encoder", Architecture::encoder},
         {"encoder_decoder", Architecture::encoder_decoder}});
    table.whole<index_t>({"model.vocab_size", "tokens", "size of the vocabulary; 256 for bytes"},
                         model.vocab_size, 2, kMostWidth);
    table.whole<index_t>({"model.hidden", "", "width of the residual stream"}, model.hidden, 1, kMostWidth);
    table.whole<index_t>({"model.layers", "", "number of blocks"}, model.layers, 1, kMostLayers);
    table.whole<index_t>({"model.encoder_layers", "", "blocks of an encoder_decoder's encoder; 0: as many"},
                         model.encoder_layers, 0, kMostLayers);
    table.whole<index_t>({"model.heads", "", "query heads"}, model.heads, 1, 100000);
    table.whole<index_t>({"model.kv_heads", "", "key and value heads; fewer than heads: grouped queries"},
                         model.kv_heads, 1, 100000);
    table.whole<index_t>({"model.head_dim", "", "width of a head; 0: hidden / heads"}, model.head_dim, 0,
                         100000);
    table.whole<index_t>({"model.ffn_width", "", "inner width of dense feed-forwards"}, model.ffn_width, 1,
                         kMostWidth);
    std::vector<std::pair<std::string, model::Activation>> activations;
    for (const model::Activation activation : ops::kActivations)
        activations.emplace_back(ops::activation_name(activation), activation);
    table.choice<model::Activation>({"model.activation", "", "activation of feed-forwards and experts"},
                                    model.activation, activations);
    table.flag({"model.ffn_bias", "", "biases in dense feed-forwards"}, model.ffn_bias);
    table.whole<index_t>({"model.seq_len", "tokens", "length of a sequence"}, model.seq_len, 1, kMostWidth);
    table.choice<NormKind>({"model.norm", "", "RMSNorm or LayerNorm"}, model.norm,
                           {{"rms", NormKind::rms}, {"layer", NormKind::layer}});
    table.flag({"model.norm_bias", "", "norms add a bias"}, model.norm_bias);
    table.choice<NormPlacement>({"model.norm_placement", "",
                                 "norms before sub-layers, after the sum, before and after, or after only"},
                                model.norm_placement,
                                {{"pre", NormPlacement::pre},
                                 {"post", NormPlacement::post},
                                 {"both", NormPlacement::both},
                                 {"outside", NormPlacement::outside}});
    table.number({"model.norm_eps", "", "added to the mean square or variance in norms"}, model.norm_eps,
                 1e-12, 1.0);
    table.choice<Wiring>({"model.wiring", "", "feed-forward after attention, or beside it"}, model.wiring,
                         {{"serial", Wiring::serial}, {"parallel", Wiring::parallel}});
    table.number({"model.embedding_scale", "", "embeddings times this; Gemma: root of hidden"},
                 model.embedding_scale, 1e-6, 1e6);
    table.flag({"model.embedding_norm", "", "a norm after the embedding (BERT, BLOOM)"},
               model.embedding_norm);
    table.whole<index_t>(
        {"model.token_types", "", "rows of BERT's token types, the first of which is added; 0: none"},
        model.token_types, 0, kMostWidth);
    table.flag({"model.tied_head", "", "use the embedding as the output projection"}, model.tied_head);
    table.flag({"model.head_bias", "", "a bias of the output projection (BERT, GPT-J)"}, model.head_bias);
    table.flag({"model.head_transform", "", "dense, activation and norm before the output projection (BERT)"},
               model.head_transform);
    table.number({"model.logit_scale", "", "output projection times this; tied T5: 1 / root of hidden"},
                 model.logit_scale, 1e-6, 1e6);
    table.number({"model.logit_softcap", "", "output logits become cap * tanh(logit / cap); 0: none"},
                 model.logit_softcap, 0.0, 1e6);
    table.number({"model.output_z_loss", "", "coefficient of the output softmax's z-loss (PaLM: 1e-4)"},
                 model.output_z_loss, 0.0, 1e3);
    table.number({"model.dropout", "", "dropout rate of embeddings and sub-layer outputs"}, model.dropout,
                 0.0, 0.99);
    table.whole<index_t>(
        {"model.mtp_depth", "tokens", "number of tokens predicted beyond the next one (DeepSeek-V3: 1)"},
        model.mtp_depth, 0, 16);
    table.number({"model.mtp_loss", "", "coefficient of the mean loss of multi-token prediction"},
                 model.mtp_loss, 0.0, 1e3);
    table.number({"model.mask_fraction", "", "share of tokens masked or corrupted (encoders)"},
                 model.mask_fraction, 0.01, 0.9);
    table.whole<index_t>({"model.span_length", "tokens", "mean length of a corrupted span"},
                         model.span_length, 1, 1000);
    table.number({"model.init_std", "", "standard deviation of initial weights"}, model.init_std, 0.0, 10.0);
    table.choice<DType>({"model.dtype", "", "type of the inputs of matrix products"}, model.dtype,
                        {{"f32", DType::f32}, {"bf16", DType::bf16}});
    table.choice<model::Recompute>(
        {"model.recompute", "", "compute a block's activations again in backward, to save memory"},
        model.recompute, {{"none", none}, {"block", block}});
}

void attention_options(OptionTable& table, model::AttentionConfig& attention) {
    using model::AttentionKind;
    using model::Biases;
    using model::QkNorm;
    table.choice<AttentionKind>({"attention.kind", "", "grouped: MHA, GQA, MQA; latent: MLA"}, attention.kind,
                                {{"grouped", AttentionKind::grouped}, {"latent", AttentionKind::latent}});
    table.choice<Biases>(
        {"attention.bias", "", "biases of the attention projections"}, attention.bias,
        {{"none", Biases::none}, {"query_key_value", Biases::query_key_value}, {"all", Biases::all}});
    table.whole<index_t>(
        {"attention.window", "tokens", "keys that a query sees, itself included; 0: all before it"},
        attention.window, 0, kMostWidth);
    table.text({"attention.window_layers", "", "layers with the window: all, none, every:N, from:N, a list"},
               attention.window_layers);
    table.number({"attention.softcap", "", "scores become cap * tanh(score / cap); 0: none"},
                 attention.softcap, 0.0, 1e6);
    table.number({"attention.scale", "", "scale of the attention scores; 0: 1 / sqrt(head width)"},
                 attention.scale, 0.0, 1e3);
    table.choice<QkNorm>({"attention.qk_norm", "",
                          "RMSNorm of queries and keys: of each head, or of all heads together (projection)"},
                         attention.qk_norm,
                         {{"no", QkNorm::none}, {"yes", QkNorm::head}, {"projection", QkNorm::projection}},
                         OptionType::flag);
    table.number(
        {"attention.clip_qkv", "", "queries, keys and values are held in [-clip, clip]; 0: no limit"},
        attention.clip_qkv, 0.0, 1e6);
    table.number({"attention.dropout", "", "dropout rate of the attention probabilities"}, attention.dropout,
                 0.0, 0.99);
    table.whole<index_t>({"attention.query_rank", "", "MLA: width of compressed queries; 0: not compressed"},
                         attention.query_rank, 0, kMostWidth);
    table.whole<index_t>({"attention.kv_rank", "", "MLA: width of compressed keys and values"},
                         attention.kv_rank, 1, kMostWidth);
    table.whole<index_t>({"attention.rope_dim", "", "MLA: width of a head's rotary part"}, attention.rope_dim,
                         0, 100000);
    table.whole<index_t>({"attention.value_dim", "", "MLA: width of a value head; 0: head_dim"},
                         attention.value_dim, 0, 100000);
}

void position_options(OptionTable& table, model::PositionConfig& position) {
    using model::PositionKind;
    using model::RopePairs;
    using model::RopeScaling;
    table.choice<PositionKind>({"position.kind", "", "position encoding"}, position.kind,
                               {{"none", PositionKind::none},
                                {"rope", PositionKind::rope},
                                {"learned", PositionKind::learned},
                                {"sine", PositionKind::sine},
                                {"t5", PositionKind::t5},
                                {"alibi", PositionKind::alibi}});
    table.number({"position.rope_theta", "", "base of the rotary wavelengths"}, position.rope_theta, 1.0,
                 1e12);
    table.number({"position.rope_fraction", "", "rotary fraction of a head"}, position.rope_fraction, 0.01,
                 1.0);
    table.choice<RopePairs>({"position.rope_pairs", "",
                             "dimensions rotated as pairs: i and i + D/2 (LLaMA), or neighbours (GPT-J)"},
                            position.rope_pairs,
                            {{"half_split", RopePairs::half_split}, {"interleaved", RopePairs::interleaved}});
    table.choice<RopeScaling>({"position.rope_scaling", "", "context extension beyond the trained length"},
                              position.rope_scaling,
                              {{"none", RopeScaling::none},
                               {"linear", RopeScaling::linear},
                               {"ntk", RopeScaling::ntk},
                               {"llama3", RopeScaling::llama3},
                               {"yarn", RopeScaling::yarn}});
    table.number({"position.rope_factor", "", "factor by which the context is extended"},
                 position.rope_factor, 1.0, 1e4);
    table.whole<index_t>({"position.rope_original_len", "tokens", "trained length, for llama3 and yarn"},
                         position.rope_original_len, 0, kMostWidth);
    table.whole<index_t>({"position.t5_buckets", "", "buckets of relative distances"}, position.t5_buckets, 2,
                         100000);
    table.whole<index_t>(
        {"position.t5_max_distance", "tokens", "distance from which all tokens share the last bucket"},
        position.t5_max_distance, 2, kMostWidth);
}

void moe_options(OptionTable& table, model::MoeConfig& moe) {
    using model::CapacityScope;
    using model::DropBy;
    using model::GroupScore;
    using model::HashTable;
    using model::LogitNoise;
    using model::Score;
    using model::WireFormat;
    std::vector<std::pair<std::string, std::string>> routers;
    for (const std::string& name : model::router_names()) routers.emplace_back(name, name);
    table.text({"moe.layers", "", "which layers are mixtures: all, none, every:N, from:N, or a list as 1,3"},
               moe.layers);
    table.whole<index_t>({"moe.experts", "", "routed experts of a layer"}, moe.experts, 1, 1'000'000);
    table.whole<index_t>({"moe.top_k", "", "experts a token is sent to"}, moe.top_k, 1, 1000);
    table.whole<index_t>({"moe.expert_width", "", "inner width of an expert"}, moe.expert_width, 1,
                         kMostWidth);
    table.whole<index_t>({"moe.shared_experts", "", "experts that every token visits"}, moe.shared_experts, 0,
                         1000);
    table.flag({"moe.shared_gate", "", "a learned gate on the shared experts' output (Qwen2-MoE)"},
               moe.shared_gate);
    table.choice<std::string>({"moe.router", "", "routing strategy"}, moe.router, std::move(routers));
    table.flag({"moe.allow_noncausal", "", "let a decoder use expert_choice, which sees later tokens"},
               moe.allow_noncausal);
    table.choice<Score>({"moe.score", "", "how logits become scores"}, moe.score,
                        {{"softmax", Score::softmax}, {"sigmoid", Score::sigmoid}});
    table.flag({"moe.renormalise", "", "divide the chosen scores by their sum"}, moe.renormalise);
    table.number({"moe.routed_scale", "", "combine weights times this (DeepSeek-V3: 2.5)"}, moe.routed_scale,
                 1e-6, 1e6);
    table.whole<index_t>({"moe.groups", "", "equal runs of experts, the papers' devices or nodes; 0: none"},
                         moe.groups, 0, 1'000'000);
    table.whole<index_t>({"moe.group_limit", "", "groups that a token may reach"}, moe.group_limit, 0,
                         1'000'000);
    table.choice<GroupScore>(
        {"moe.group_score", "", "a group's best score (V2), or the sum of its best (V3)"}, moe.group_score,
        {{"highest", GroupScore::highest}, {"top_sum", GroupScore::top_sum}});
    table.choice<LogitNoise>(
        {"moe.noise", "", "noise on the logits, in training; learned: Shazeer's noisy top-k"}, moe.noise,
        {{"none", LogitNoise::none},
         {"gaussian", LogitNoise::gaussian},
         {"gumbel", LogitNoise::gumbel},
         {"learned", LogitNoise::learned}});
    table.number({"moe.noise_std", "", "standard deviation of gaussian noise, scale of Gumbel noise"},
                 moe.noise_std, 0.0, 1e3);
    table.number({"moe.jitter", "", "router input times 1 - jitter to 1 + jitter, in training"}, moe.jitter,
                 0.0, 0.99);
    table.flag(
        {"moe.random_second", "", "second choice with probability min(1, 2 weight), in training (GShard)"},
        moe.random_second);
    table.choice<HashTable>({"moe.hash", "", "table of router = hash"}, moe.hash,
                            {{"random", HashTable::random}, {"balanced", HashTable::balanced}});
    table.choice<DType>({"moe.router_dtype", "", "precision of the router's logits and scores"},
                        moe.router_dtype, {{"f32", DType::f32}, {"bf16", DType::bf16}});
    table.number({"moe.capacity_factor", "",
                  "slots of an expert over its even share of the global batch; 0: dropless"},
                 moe.capacity_factor, 0.0, 1e6);
    table.number({"moe.eval_capacity_factor", "", "the same in evaluation (ST-MoE: 2); 0: as in training"},
                 moe.eval_capacity_factor, 0.0, 1e6);
    table.whole<index_t>({"moe.min_capacity", "tokens", "least slots of an expert"}, moe.min_capacity, 0,
                         kMostSteps);
    table.choice<CapacityScope>({"moe.capacity_scope", "",
                                 "queues of the global batch, or of each rank (which depends on the layout)"},
                                moe.capacity_scope,
                                {{"global", CapacityScope::global}, {"local", CapacityScope::local}});
    table.choice<DropBy>({"moe.drop_by", "", "who gets a slot first: position, score, or best-scored token"},
                         moe.drop_by,
                         {{"position", DropBy::position},
                          {"score", DropBy::score},
                          {"batch_priority", DropBy::batch_priority}});
    table.number(
        {"moe.device_capacity", "", "most choices of a group over its even share (DeepSeek-V2); 0: no limit"},
        moe.device_capacity, 0.0, 1e6);
    table.number({"moe.protected_fraction", "", "share of sequences that moe.device_capacity never drops"},
                 moe.protected_fraction, 0.0, 1.0);
    table.number({"moe.expert_dropout", "", "dropout rate of expert outputs"}, moe.expert_dropout, 0.0, 0.99);
    table.choice<WireFormat>(
        {"moe.wire", "",
         "rows between tokens and experts: in full, rounded to bf16, or those of forward to e4m3"},
        moe.wire, {{"f32", WireFormat::f32}, {"bf16", WireFormat::bf16}, {"fp8", WireFormat::fp8}});
}

void balance_options(OptionTable& table, model::BalanceConfig& balance) {
    const auto coefficient = [&](const char* name, const char* help, double& field) {
        table.number({name, "", help}, field, 0.0, 1e3);
    };
    coefficient("balance.switch_loss",
                "coefficient of the Switch / GShard balance loss; of routers that need none: 0",
                balance.switch_loss);
    coefficient("balance.z_loss", "coefficient of the router z-loss; without scores: 0", balance.z_loss);
    coefficient("balance.importance_loss", "coefficient of Shazeer's importance loss",
                balance.importance_loss);
    coefficient("balance.load_loss", "coefficient of Shazeer's load loss; needs moe.noise = learned",
                balance.load_loss);
    coefficient("balance.device_loss", "coefficient of DeepSeekMoE's device-level loss", balance.device_loss);
    coefficient("balance.communication_loss", "coefficient of DeepSeek-V2's communication loss",
                balance.communication_loss);
    coefficient("balance.sequence_loss", "coefficient of DeepSeek-V3's sequence-wise loss",
                balance.sequence_loss);
    coefficient("balance.bias_rate", "step of DeepSeek-V3's selection bias; 0: no bias", balance.bias_rate);
    coefficient("balance.entropy_bonus", "coefficient of the policy's entropy (router = reinforce)",
                balance.entropy_bonus);
    coefficient("balance.baseline_loss", "coefficient of the baseline's loss (router = reinforce)",
                balance.baseline_loss);
}

}  // namespace

void add_model_sections(OptionTable& table, model::ModelConfig& model, model::MoeConfig& moe) {
    model_options(table, model);
    attention_options(table, model.attention);
    position_options(table, model.position);
    moe_options(table, moe);
    balance_options(table, moe.balance);
}

}  // namespace sy::runtime
