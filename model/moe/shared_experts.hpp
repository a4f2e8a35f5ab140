#pragma once

#include <optional>

#include "model/layers/feed_forward.hpp"
#include "model/layers/projection.hpp"

namespace sy::model {

/// The shared experts of a mixture: one wide feed-forward that every token visits. With moe.shared_gate its output is
/// multiplied by the sigmoid of a product of its own.
/// @par Source  DeepSeekMoE, arXiv:2401.06066; the gate: Qwen2-MoE, arXiv:2407.10671
class SharedExperts {
  public:
    SharedExperts(LayerContext& shared, const LayerKey& layer);

    /// What backward needs.
    struct Saved {
        FeedForward::Saved feed_forward;
        Tensor gate;  ///< [T, 1] the sigmoids; empty without a gate
    };
    /// @param x    [T, H] f32
    /// @param out  [T, H] f32 is overwritten
    Saved apply(ConstTensorRef x, TensorRef out, bool keep, const Context& context) const;
    /// @param x, dy  [T, H] f32
    /// @param dx     [T, H] f32 is overwritten
    void backward(ConstTensorRef x, const Saved& saved, ConstTensorRef dy, TensorRef dx, const PassInfo& pass,
                  const Context& context) const;

  private:
    FeedForward feed_forward_;
    std::optional<Projection> gate_;  ///< [H, 1]
};

}  // namespace sy::model
