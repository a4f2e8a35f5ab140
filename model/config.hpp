#pragma once

#include <string>
#include <vector>

#include "kernels/core/dtype.hpp"
#include "kernels/core/types.hpp"

/// What a model is made of: plain values, filled by runtime/config, checked in one place.
namespace sy::model {

enum class Recompute { none, block };

struct ModelConfig {
    index_t vocab_size = 256;
    index_t hidden = 256;
    index_t layers = 4;
    index_t heads = 4;
    index_t kv_heads = 4;
    index_t head_dim = 0;  ///< 0: hidden / heads
    index_t ffn_width = 704;
    index_t seq_len = 256;
    double rope_theta = 10000.0;
    double norm_eps = 1e-5;
    bool tied_head = false;
    double init_std = 0.02;
    DType dtype = DType::f32;
    Recompute recompute = Recompute::none;

    index_t head_width() const { return head_dim > 0 ? head_dim : hidden / heads; }
};

struct MoeConfig {
    std::string layers = "all";  ///< all, none, every:N (the last of each N), or a list such as 1,3
    index_t experts = 8;
    index_t top_k = 2;
    index_t expert_width = 352;
    index_t shared_experts = 0;
    std::string router = "softmax_top_k";
    bool renormalise = true;
    double capacity_factor = 0.0;  ///< 0: dropless
    index_t min_capacity = 4;
    double balance_loss = 0.01;
    double z_loss = 0.001;
    double jitter = 0.0;
};

/// Whether each layer's feed-forward is a mixture. @throws ConfigError for a pattern that names no such layers
std::vector<bool> moe_layers(const MoeConfig& moe, index_t num_layers);

/// Everything wrong with a model, one sentence each with the remedy; empty when it can be built.
std::vector<std::string> model_problems(const ModelConfig& model, const MoeConfig& moe);

/// Parameters and products of a model, from its config alone.
struct ModelSize {
    index_t total_parameters = 0;
    index_t active_parameters = 0;  ///< used by one token
    index_t expert_parameters = 0;  ///< of all routed experts
    double forward_flops_per_token =
        0.0;  ///< products only; multiply-add counts two; causal attention counts half
    double train_flops_per_token() const { return 3.0 * forward_flops_per_token; }
};
ModelSize model_size(const ModelConfig& model, const MoeConfig& moe);

}  // namespace sy::model
