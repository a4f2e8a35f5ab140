#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "model/layers/layer_context.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {

/// Gradients that reach a router. Empty parts are zero.
struct RouterGradients {
    Tensor weight;             ///< [T, K] of the combine weights
    std::vector<float> share;  ///< [E] of every token's shares alike (ops::GateBackward)
    Tensor token_share;        ///< [T, E] of the shares
    Tensor lse;                ///< [T] of the logsumexp of the logits
    Tensor logit;              ///< [T, E] of the logits themselves
    Tensor clean_logit;        ///< [T, E] of the logits before learned noise
    Tensor noise_scale;        ///< [T, E] of the standard deviation of learned noise
};

/// A part of them, f32, zero where nothing has been added to it yet.
TensorRef opened(Tensor& part, const Shape& shape, const Context& context);

/// By which rule logits are routed.
struct RoutingRule {
    const RoutingStrategy& strategy;
    const MoeConfig& config;
    index_t layer_idx;
    comm::Communicator& world;
};

/// From logits to choices and weights, whoever computed the logits: gaussian or Gumbel noise, scores, the strategy's
/// choice, weights, and the drawn second choice.
/// @param routing  holds the logits [T, E], with learned noise where there is any; they are absent where the strategy
///                 does not use them
/// @par Collective over the world
void route_logits(const RoutingRule& rule, const PassInfo& pass, Routing& routing, const Context& context);

/// From rows to choices and weights: input jitter, logits, noise, scores, a strategy's choice, weights.
/// Backward starts from the gradients of weights and losses; the choice itself is a constant.
class Router {
  public:
    /// @param key  the mixture of a block
    Router(LayerContext& shared, const MoeConfig& config, const LayerKey& key, comm::Communicator& world);

    /// @param x  [T, H]
    /// @par Collective over the world
    Routing route(ConstTensorRef x, const PassInfo& pass, const Context& context) const;

    /// @param x   [T, H] as it was given to route
    /// @param dx  [T, H] is overwritten
    void backward(ConstTensorRef x, const Routing& routing, const RouterGradients& gradients,
                  const PassInfo& pass, TensorRef dx, const Context& context) const;

    RoutingStrategy& strategy() const { return *strategy_; }

  private:
    /// The product of the router's input and weights, in moe.router_dtype.
    void multiply(ConstTensorRef x, TensorRef logits, const Context& context) const;
    /// Fills the logits with noise of a learned scale, and keeps what backward needs of it.
    void add_learned_noise(ConstTensorRef input, const PassInfo& pass, Routing& routing,
                           const Context& context) const;
    /// Fills input and logits, with learned noise.
    void compute_logits(ConstTensorRef x, const PassInfo& pass, Routing& routing,
                        const Context& context) const;

    LayerContext& shared_;
    const MoeConfig& config_;
    index_t layer_idx_;
    comm::Communicator& world_;
    std::unique_ptr<RoutingStrategy> strategy_;
    ParameterId weight_;        ///< -1 where the strategy does not use logits
    ParameterId noise_weight_;  ///< of learned noise, or -1
};

}  // namespace sy::model
