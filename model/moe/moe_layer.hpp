#pragma once

#include <memory>
#include <optional>

#include "comm/exchange/exchange.hpp"
#include "kernels/core/trace.hpp"
#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/capacity.hpp"
#include "model/moe/router/router.hpp"
#include "model/moe/routing_log.hpp"
#include "model/moe/shared_experts.hpp"
#include "model/moe/wire.hpp"

namespace sy::model {

/// The ranks a model runs on, borrowed.
struct ModelWorld {
    comm::Communicator& world;                   ///< all ranks: capacity, statistics
    comm::Exchange& exchange;                    ///< over the ranks that hold one copy of the experts
    comm::Communicator* expert_group = nullptr;  ///< the ranks of the exchange; needed by moe.expert_dropout
    DropLedger* drops = nullptr;                 ///< where dropped choices are listed; null: nowhere
    RoutingLog* routing = nullptr;               ///< where every choice is written down; null: nowhere
    TraceLog* trace = nullptr;                   ///< where the time of parts is written down; null: nowhere
};

/// What a MoE layer reports of a pass. What a device has added up is this rank's share.
struct MoeStatistics {
    std::vector<index_t> load;  ///< [E] global choices before drops
    index_t num_dropped = 0;    ///< global
    Tensor loss_sums;           ///< [num_loss_sums, 4] i64, of the layer's losses, one after another
    Tensor routing_hash;        ///< [1] i64, sum mod 2^64 over (token, choice rank, expert, kept)
};

/// A mixture of experts in place of a feed-forward: router, capacity, exchange, experts, combine, shared experts.
class MoeLayer {
  public:
    /// @param key  the mixture of a block
    MoeLayer(LayerContext& shared, const MoeConfig& config, const ModelWorld& world, const LayerKey& key);

    /// @param statistics  filled; null on a replay
    /// @par Collective over the world
    Value& forward(Tape& tape, Value& x, const PassInfo& pass, MoeStatistics* statistics) const;

    /// What the host has to decide when next tokens are generated; null: nothing, since this rank has all experts and
    /// its router chooses by scores. The same on every rank.
    const char* host_decision() const;
    /// Whether next tokens stay on a device that the host would have to wait for.
    bool extends_on_device(const Context& context) const {
        return !context.device.is_host_memory() && host_decision() == nullptr;
    }
    /// Next tokens of generated sequences, where extends_on_device: nothing is read back, nothing dropped, nothing sent.
    Value& extend(Tape& tape, Value& x, const PassInfo& pass) const;

    std::span<const std::unique_ptr<RouterLoss>> losses() const { return losses_; }
    RoutingStrategy& strategy() const { return router_.strategy(); }

  private:
    class Pass;

    ops::ExpertWeights expert_weights() const;
    /// Whether the backward pass needs the sums of the losses over all ranks.
    bool gradients_need_sums() const;

    LayerContext& shared_;
    const MoeConfig& config_;
    const ModelWorld& world_;
    index_t layer_idx_;  ///< over all stacks
    Router router_;
    std::vector<std::unique_ptr<RouterLoss>> losses_;
    std::optional<SharedExperts> shared_experts_;
    ParameterId gate_;  ///< -1 without a gate
    ParameterId up_;
    ParameterId down_;
};

}  // namespace sy::model
