#pragma once

#include "runtime/interchange/hf_family.hpp"
#include "runtime/interchange/model_builder.hpp"

/// What the decoders with LLaMA's names and keys share.
namespace sy::runtime::hf {

/// Keys of a decoder with RMSNorm, gated feed-forwards and rotary positions.
Json::Object decoder_config(const Config& config);
/// The inverse. @param theta  rope_theta where no key gives it
void read_decoder(ConfigKeys& keys, Config& config, double theta = 10000.0);

/// rope_theta, rope_scaling and rope_parameters: old readers want the former, new ones the latter.
void write_rope(const Config& config, Json::Object& keys);
void read_rope(ConfigKeys& keys, Config& config, double theta);

/// "silu", "gelu_pytorch_tanh", ...
std::string activation_key(model::Activation activation);
enum class Gated { no, yes };
void read_activation(ConfigKeys& keys, Config& config, const char* key, const char* otherwise, Gated gated);

/// Which layers are mixtures, as Qwen says it.
void write_sparse_layers(const Config& config, Json::Object& keys);
void read_sparse_layers(ConfigKeys& keys, Config& config);

/// Settings that a class without a mixture has.
void set_dense(Config& config);
/// The routing that mixtures begin with: dropless top-k without auxiliary losses that the other side does not name.
void set_mixture(Config& config);

/// "layers.3."
std::string layer_name(index_t layer);

/// Embedding, last norm, head.
void add_outer(ModelBuilder& builder);
/// `theirs`.weight and, where ours has one, `theirs`.bias, of a product.
void add_linear(ModelBuilder& builder, const std::string& theirs, const std::string& ours,
                const RotaryOrder& order = {});
/// Gain and, where ours has one, bias of a norm.
void add_norm(ModelBuilder& builder, const std::string& theirs, const std::string& ours);
/// The norms before both sub-layers. @param theirs, ours  of a layer, with the trailing dot
void add_layer_norms(ModelBuilder& builder, const std::string& theirs, const std::string& ours);
/// These norms, and grouped attention with the names of LLaMA.
void add_attention(ModelBuilder& builder, const Config& config, const std::string& theirs,
                   const std::string& ours);
void add_attention(ModelBuilder& builder, const Config& config, index_t layer);
/// gate_proj, up_proj, down_proj.
void add_gated(ModelBuilder& builder, const std::string& theirs, const std::string& ours);

struct ExpertNames {
    const char* gate = "gate_proj";
    const char* up = "up_proj";
    const char* down = "down_proj";
};
/// The experts of a layer. @param theirs  with the trailing dot: "model.layers.3.mlp.experts."
void add_experts(ModelBuilder& builder, const std::string& theirs, const std::string& ours,
                 ExpertLayout layout, const ExpertNames& names = {});

/// The order of the rotary columns of queries and keys on a side that pairs columns as `theirs`.
RotaryOrder rotary_order(const model::ModelConfig& model, model::RopePairs theirs);

}  // namespace sy::runtime::hf
