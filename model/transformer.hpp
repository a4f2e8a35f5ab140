#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "model/stack.hpp"

namespace sy::model {

/// Routing of one mixture layer in one pass, over all ranks.
struct LayerResult {
    index_t layer = 0;
    std::vector<index_t> load;  ///< [E] choices, before drops
    index_t num_dropped = 0;
    std::uint64_t routing_hash = 0;

    index_t highest_load() const;
    double mean_load() const;
};

/// A loss of the routers.
struct NamedLoss {
    std::string name;
    double coefficient = 0.0;
    double value = 0.0;  ///< sum over layers, before its coefficient
};

/// Losses of one pass over a global batch, the same on every rank and every layout.
struct PassResult {
    double token_loss = 0.0;  ///< mean cross entropy, in nats
    std::vector<NamedLoss> router_losses;
    double total = 0.0;  ///< what is minimised
    std::uint64_t routing_hash = 0;
    index_t num_dropped = 0;
    double imbalance = 1.0;  ///< highest load of an expert over the mean, worst layer
    std::vector<LayerResult> layers;
};

/// A decoder: a stack of blocks of attention and feed-forward (dense or a mixture) and a head.
class Transformer {
  public:
    /// Registers its parameters; call parameters.allocate(seed) afterwards.
    Transformer(const ModelConfig& config, const MoeConfig& moe, Parameters& parameters,
                const ModelWorld& world, std::uint64_t seed);

    /// Forward and backward of this rank's sequences; adds to the gradients.
    /// @param ids  [sequences, S + 1] token ids; may be empty on a rank
    /// @par Collective over the world
    PassResult train(std::span<const std::int32_t> ids, const BatchInfo& batch, const Context& context);
    /// Forward only; the same rules (capacity) without noise. @par Collective over the world
    PassResult evaluate(std::span<const std::int32_t> ids, const BatchInfo& batch, const Context& context);

    /// Lets the routers learn from the loads of a step whose update was applied (DeepSeek-V3's bias).
    void finish_step(const PassResult& step);
    /// What routers carry from step to step, by the name of their layer; the same on every rank.
    std::map<std::string, std::vector<double>> router_state() const;
    /// @throws ConfigError naming what is missing, too much, or of another size
    void set_router_state(const std::map<std::string, std::vector<double>>& state);

    /// Called when the gradient of a parameter is complete for a pass; set before train().
    void on_gradient_ready(std::function<void(ParameterId)> callback) {
        layer_context_.gradient_ready = std::move(callback);
    }

    /// State of generation for B sequences on this rank.
    struct Generation {
        std::vector<BlockCache> caches;
        index_t position = 0;
    };
    Generation start_generation(index_t num_sequences, index_t capacity, const Context& context) const;
    /// Feeds one token a sequence and returns logits [B, V]. Dropless. @par Collective over the world
    /// @throws ShapeError beyond the capacity
    Tensor decode(std::span<const std::int32_t> ids, Generation& state, const Context& context) const;

    const ModelConfig& config() const { return config_; }

  private:
    PassResult run(std::span<const std::int32_t> ids, const BatchInfo& batch, Use use,
                   const Context& context);
    PassResult reduce(std::span<const float> loss, std::span<MoeStatistics> statistics,
                      const BatchInfo& batch) const;

    ModelConfig config_;
    MoeConfig moe_;
    Parameters& parameters_;
    ModelWorld world_;
    std::uint64_t seed_;
    LayerContext layer_context_;
    std::unique_ptr<Stack> decoder_;
    std::unique_ptr<Head> head_;
};

}  // namespace sy::model
