#pragma once

#include <string>
#include <vector>

#include "kernels/core/dtype.hpp"
#include "kernels/core/types.hpp"
#include "kernels/ops/activation/kind.hpp"
#include "kernels/ops/gate/score.hpp"
#include "kernels/ops/norm/kind.hpp"
#include "kernels/ops/rotary/kind.hpp"

/// What a model is made of: plain values, filled by runtime/config, checked in one place.
namespace sy::model {

enum class Recompute { none, block };

/// decoder: next-token loss. encoder: masked-token loss (BERT). encoder_decoder: span corruption (T5).
enum class Architecture { decoder, encoder, encoder_decoder };

using ops::Activation;
using ops::NormKind;

/// Where a sub-layer f has its norms n on the residual stream x.
enum class NormPlacement {
    pre,      ///< x + f(n(x))
    post,     ///< n(x + f(x)): the 2017 Transformer
    both,     ///< x + n'(f(n(x))): Gemma 2, Grok
    outside,  ///< x + n(f(x)): OLMo 2; the residual stream itself is never normalised
};

/// serial: attention, then feed-forward. parallel: both read the same norm (GPT-J, PaLM).
enum class Wiring { serial, parallel };

enum class Biases { none, query_key_value, all };

/// RMSNorm of queries and keys. head: of each head by itself (Qwen3); projection: of all heads together (OLMoE).
enum class QkNorm { none, head, projection };

enum class AttentionKind {
    grouped,  ///< MHA, GQA or MQA by the number of key/value heads
    latent,   ///< MLA of DeepSeek-V2
};

struct AttentionConfig {
    AttentionKind kind = AttentionKind::grouped;
    Biases bias = Biases::none;
    index_t window = 0;  ///< keys a query sees in windowed layers, itself included; 0: all before it
    std::string window_layers = "all";  ///< which layers have the window, as moe.layers
    double softcap = 0.0;               ///< scores become cap * tanh(score / cap); 0: none
    double scale = 0.0;                 ///< of the scores; 0: 1 / sqrt(head width)
    QkNorm qk_norm = QkNorm::none;
    double clip_qkv = 0.0;   ///< queries, keys and values are held between -clip and clip (DBRX); 0: none
    double dropout = 0.0;    ///< of probabilities
    index_t query_rank = 0;  ///< MLA: width of compressed queries; 0: not compressed
    index_t kv_rank = 512;   ///< MLA: width of the compressed keys and values that the cache holds
    index_t rope_dim = 64;   ///< MLA: width of a head's rotary part
    index_t value_dim = 0;   ///< MLA: width of a value head; 0: the head width
};

enum class PositionKind { none, rope, learned, sine, t5, alibi };
using RopePairs = ops::RotaryPairs;
using RopeScaling = ops::RotaryStretch;

struct PositionConfig {
    PositionKind kind = PositionKind::rope;
    double rope_theta = 10000.0;
    double rope_fraction = 1.0;  ///< share of a head that is rotated
    RopePairs rope_pairs = RopePairs::half_split;
    RopeScaling rope_scaling = RopeScaling::none;
    double rope_factor = 1.0;       ///< by how much the context is stretched
    index_t rope_original_len = 0;  ///< trained length, for llama3 and yarn
    index_t t5_buckets = 32;
    index_t t5_max_distance = 128;
};

struct ModelConfig {
    Architecture architecture = Architecture::decoder;
    index_t vocab_size = 256;
    index_t hidden = 256;
    index_t layers = 4;          ///< of the decoder, or of an encoder that stands alone
    index_t encoder_layers = 0;  ///< of an encoder_decoder; 0: as many as layers
    index_t heads = 4;
    index_t kv_heads = 4;
    index_t head_dim = 0;  ///< 0: hidden / heads; without its rotary part in MLA
    index_t ffn_width = 704;
    Activation activation = Activation::swiglu;
    bool ffn_bias = false;  ///< of dense feed-forwards
    index_t seq_len = 256;
    NormKind norm = NormKind::rms;
    bool norm_bias = false;
    NormPlacement norm_placement = NormPlacement::pre;
    double norm_eps = 1e-5;
    Wiring wiring = Wiring::serial;
    double embedding_scale = 1.0;
    bool embedding_norm = false;  ///< BERT, BLOOM
    index_t token_types = 0;      ///< rows of a table whose first is added to every token (BERT); 0: none
    bool tied_head = false;
    bool head_bias = false;
    bool head_transform = false;  ///< before the head: dense, activation, norm (BERT)
    double logit_scale = 1.0;     ///< of the head's product (T5, Grok)
    double logit_softcap = 0.0;
    double output_z_loss = 0.0;  ///< coefficient of mean logsumexp^2 of the head's logits (PaLM)
    double dropout = 0.0;        ///< of embeddings and of what sub-layers add to the stream
    index_t mtp_depth = 0;       ///< tokens predicted beyond the next one (DeepSeek-V3)
    double mtp_loss = 0.3;       ///< lambda of their losses
    double mask_fraction = 0.15;
    index_t span_length = 3;  ///< mean length of a corrupted span
    double init_std = 0.02;
    DType dtype = DType::f32;
    Recompute recompute = Recompute::none;
    AttentionConfig attention;
    PositionConfig position;

    index_t head_width() const { return head_dim > 0 ? head_dim : hidden / heads; }
    index_t num_encoder_layers() const {
        if (architecture == Architecture::decoder) return 0;
        if (architecture == Architecture::encoder) return layers;
        return encoder_layers > 0 ? encoder_layers : layers;
    }
    index_t num_decoder_layers() const { return architecture == Architecture::encoder ? 0 : layers; }
};

using ops::Score;
enum class GroupScore { highest, top_sum };
enum class LogitNoise { none, gaussian, gumbel, learned };
enum class HashTable { random, balanced };
enum class CapacityScope { global, local };
enum class DropBy { position, score, batch_priority };
/// How rows travel between tokens and experts. f32: rows as products read them, results in full. bf16: both rounded to bf16.
/// fp8: rows of the forward pass in e4m3 with a scale for each 128 values, all else in bf16.
enum class WireFormat { f32, bf16, fp8 };

/// Coefficients of the losses that steer a router; 0 switches one off.
struct BalanceConfig {
    double switch_loss = 0.01;        ///< Switch / GShard / DeepSeekMoE expert level
    double z_loss = 0.001;            ///< ST-MoE
    double importance_loss = 0.0;     ///< Shazeer et al. 2017
    double load_loss = 0.0;           ///< Shazeer et al. 2017; needs moe.noise = learned
    double device_loss = 0.0;         ///< DeepSeekMoE device level, over moe.groups
    double communication_loss = 0.0;  ///< DeepSeek-V2, over moe.groups
    double sequence_loss = 0.0;       ///< DeepSeek-V3
    double bias_rate = 0.0;           ///< gamma of DeepSeek-V3's selection bias, a step
    double entropy_bonus = 0.0;       ///< of router = reinforce
    double baseline_loss = 1.0;       ///< of router = reinforce
};

struct MoeConfig {
    std::string layers = "all";  ///< see layer_pattern
    index_t experts = 8;
    index_t top_k = 2;
    index_t expert_width = 352;
    index_t shared_experts = 0;
    bool shared_gate = false;      ///< their output times the sigmoid of a product of its own (Qwen2-MoE)
    std::string router = "top_k";  ///< a name of router_names()
    bool allow_noncausal = false;  ///< of router = expert_choice, in a decoder
    Score score = Score::softmax;
    bool renormalise = true;
    double routed_scale = 1.0;  ///< of the combine weights
    index_t groups = 0;         ///< contiguous runs of experts: the devices or nodes of the papers; 0: none
    index_t group_limit = 0;    ///< groups that a token may reach
    GroupScore group_score = GroupScore::highest;
    LogitNoise noise = LogitNoise::none;
    double noise_std = 1.0;  ///< of gaussian and gumbel noise
    double jitter = 0.0;
    bool random_second = false;  ///< GShard: the second choice goes out with probability min(1, 2 g2)
    HashTable hash = HashTable::random;
    DType router_dtype = DType::f32;
    double capacity_factor = 0.0;       ///< 0: dropless
    double eval_capacity_factor = 0.0;  ///< in evaluation; 0: as in training
    index_t min_capacity = 4;
    CapacityScope capacity_scope = CapacityScope::global;
    DropBy drop_by = DropBy::position;
    double device_capacity = 0.0;     ///< budget of a group over its even share, DeepSeek-V2; 0: none
    double protected_fraction = 0.1;  ///< of the sequences, which a device budget never drops
    double expert_dropout = 0.0;      ///< of expert outputs in fine-tuning (Switch)
    WireFormat wire = WireFormat::f32;
    BalanceConfig balance;
};

/// The layers that a pattern names: all, none, every:N (the last of each N), from:N (N and all behind it), or a list
/// such as 1,3. @param key  the option, for the message @throws ConfigError for a pattern that names no such layers
std::vector<bool> layer_pattern(const std::string& key, const std::string& pattern, index_t num_layers);
/// Whether each layer's feed-forward is a mixture. @throws ConfigError as layer_pattern
std::vector<bool> moe_layers(const MoeConfig& moe, index_t num_layers);

/// The same for the blocks of all stacks, by stream_idx: the decoder's or lone encoder's, those of multi-token prediction
/// (each as the last layer), an encoder's under a decoder.
std::vector<bool> moe_blocks(const MoeConfig& moe, const ModelConfig& model);

/// Everything wrong with a model, one sentence each with the remedy; empty when it can be built.
std::vector<std::string> model_problems(const ModelConfig& model, const MoeConfig& moe);

/// What is worth knowing about a model that can be built; told once, by `plan` and at the start of a run.
std::vector<std::string> model_notes(const MoeConfig& moe);

/// Parameters and products of a model, from its config alone. The biases of a selection (DeepSeek-V3) are state, not
/// parameters.
struct ModelSize {
    index_t total_parameters = 0;
    /// What predicting a token reads: all but the experts it does not visit and the modules of multi-token prediction.
    /// Embedding and head count whole.
    index_t active_parameters = 0;
    index_t expert_parameters = 0;  ///< of all routed experts, those of multi-token prediction included
    index_t mtp_parameters = 0;     ///< of the modules of multi-token prediction, in total_parameters
    /// Products only; multiply-add counts two; causal attention counts half, attention in a window what it sees. The
    /// modules of multi-token prediction are included. In an encoder_decoder a token is one of the text whose spans
    /// are corrupted (see stack_shares).
    double forward_flops_per_token = 0.0;
    double train_flops_per_token() const { return 3.0 * forward_flops_per_token; }
};
ModelSize model_size(const ModelConfig& model, const MoeConfig& moe);

/// Tokens that each stack reads for a token of text. An encoder_decoder's encoder reads the text with every corrupted
/// span replaced by one token, its decoder those spans, each behind such a token.
/// @par Source  T5, arXiv:1910.10683, figure 2
struct StackShares {
    double encoder = 0.0;
    double decoder = 0.0;
};
StackShares stack_shares(const ModelConfig& model);

}  // namespace sy::model
