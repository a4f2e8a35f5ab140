#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"

namespace sy::model {

/// What a router decided for T tokens, before capacity.
struct Routing {
    Tensor scores;  ///< [T, E] f32
    Tensor expert;  ///< [T, K] i32, best first
    Tensor weight;  ///< [T, K] f32 combine weights
    Tensor lse;     ///< [T] f32 logsumexp of the logits
};

/// Gradients that reach a router.
struct RouterGradients {
    MatrixView<const float> weight;  ///< [T, K]
    std::span<const float> score;    ///< [E] the same for every token (balance losses), or empty
    std::span<const float> lse;      ///< [T] (z-loss), or empty
};

/// How tokens choose experts: one file a strategy. Stateless; what a pass needs later is in Routing.
class RoutingStrategy {
  public:
    virtual ~RoutingStrategy() = default;
    /// @param logits  [T, E] float32
    virtual Routing choose(MatrixView<const float> logits, const Context& context) const = 0;
    /// dlogits [T, E] is overwritten.
    virtual void backward(const Routing& routing, const RouterGradients& gradients, MatrixView<float> dlogits,
                          const Context& context) const = 0;
};

/// Softmax over all experts, then the K highest; weights renormalised over them if moe.renormalise.
/// @par Source  Fedus et al., Switch Transformers, arXiv:2101.03961; Muennighoff et al., OLMoE, arXiv:2409.02060
std::unique_ptr<RoutingStrategy> make_softmax_top_k(const MoeConfig& config);

/// Keys of moe.router.
std::vector<std::string> router_names();
/// @throws ConfigError naming the known keys
std::unique_ptr<RoutingStrategy> make_router(const MoeConfig& config);

}  // namespace sy::model
