#pragma once

#include <memory>
#include <optional>

#include "comm/exchange/exchange.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/layers/layers.hpp"
#include "model/moe/capacity.hpp"
#include "model/moe/router.hpp"

namespace sy::model {

/// The ranks a model runs on, borrowed. Tokens are dealt to world ranks as ascending runs of whole sequences.
struct ModelWorld {
    comm::Communicator& world;         ///< all ranks: capacity, statistics
    comm::Exchange& exchange;          ///< over the ranks that hold one copy of the experts
    const comm::Placement& placement;  ///< of the experts on those ranks
};

/// One pass over a global batch: what every rule is a function of.
struct BatchInfo {
    index_t first_token = 0;    ///< global number, in this micro-step, of this rank's first token
    index_t global_tokens = 0;  ///< of this micro-step, over all ranks
    index_t step = 0;
    index_t micro_step = 0;
    index_t accumulation = 1;  ///< micro-steps of a step: losses and gradients are divided by it
};

/// What a MoE layer reports of a pass. `score_sums` and `z_sum` are this rank's share until they are reduced.
struct MoeStatistics {
    std::vector<index_t> load;             ///< [E] global choices before drops
    std::vector<std::int64_t> score_sums;  ///< [E]
    std::int64_t z_sum = 0;
    std::uint64_t routing_hash = 0;  ///< sum mod 2^64 over (token, choice rank, expert, kept)
    index_t num_dropped = 0;         ///< global
};

/// A mixture of experts in place of a feed-forward: router, capacity, exchange, experts, combine, shared experts.
class MoeLayer {
  public:
    MoeLayer(LayerContext& shared, const MoeConfig& config, const ModelWorld& world, index_t layer_idx);

    enum class Use { train, evaluate, generate };
    /// @param statistics  filled; null on a replay
    /// @par Collective over the world
    Value& forward(Tape& tape, Value& x, const BatchInfo& batch, Use use, std::uint64_t seed,
                   MoeStatistics* statistics) const;

  private:
    struct Pass;
    template <class In>
    Value& run(Tape& tape, Value& x, const BatchInfo& batch, Use use, std::uint64_t seed,
               MoeStatistics* statistics) const;
    template <class In>
    void run_backward(Value& x, Value& y, Pass& pass, const Context& context) const;
    void route(MatrixView<const float> x, Pass& pass, const Context& context) const;
    void report(const Pass& pass, MoeStatistics& statistics) const;
    template <class In>
    ops::ExpertWeights<In> expert_weights() const;

    LayerContext& shared_;
    const MoeConfig& config_;
    const ModelWorld& world_;
    index_t layer_idx_;
    std::unique_ptr<RoutingStrategy> router_;
    std::optional<FeedForward> shared_experts_;
    ParameterId router_weight_;
    ParameterId gate_;
    ParameterId up_;
    ParameterId down_;
};

}  // namespace sy::model
