#pragma once

#include <functional>

#include "runtime/interchange/families/decoder.hpp"

/// What DeepSeek-V2, DeepSeek-V3 and GLM-4 MoE share.
namespace sy::runtime::hf {

/// first_k_dense_replace and the keys of routed and shared experts.
void write_experts(const Config& config, Json::Object& keys);
void read_experts(ConfigKeys& keys, Config& config, index_t first_dense);

/// Routing by sigmoid scores, with groups and a selection bias that is state.
void write_biased_routing(const Config& config, Json::Object& keys);
void read_biased_routing(ConfigKeys& keys, Config& config);
std::vector<std::string> biased_routing_problems(const Config& config);

/// Latent attention.
void write_latent(const Config& config, Json::Object& keys);
void read_latent(ConfigKeys& keys, Config& config);
std::vector<std::string> latent_problems(const Config& config);
void add_latent_attention(ModelBuilder& builder, const Config& config, const std::string& theirs,
                          const std::string& ours, model::RopePairs pairs);

/// The feed-forward of a layer: dense, or router, experts and shared experts. @param theirs  "model.layers.3.mlp"
enum class SelectionBias { none, tensor };
void add_feed_forward(ModelBuilder& builder, const Config& config, const std::string& theirs,
                      const std::string& ours, ExpertLayout layout, SelectionBias bias);

/// The modules of multi-token prediction, which stand behind the last layer.
using AddBlock = std::function<void(const std::string& theirs, const std::string& ours)>;
void add_prediction_modules(ModelBuilder& builder, const Config& config, const AddBlock& add_block);

}  // namespace sy::runtime::hf
