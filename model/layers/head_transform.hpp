#pragma once

#include "model/layers/norm_layer.hpp"
#include "model/layers/projection.hpp"

namespace sy::model {

/// What stands before the head where model.head_transform: norm(f(x W + b)), f the model's activation without a gate.
/// @par Source  BERT's masked-token head, arXiv:1810.04805
class HeadTransform {
  public:
    explicit HeadTransform(LayerContext& shared);

    /// @param x  [T, H], after the last norm
    Value& forward(Tape& tape, Value& x, const PassInfo& pass) const;

  private:
    LayerContext& shared_;
    Projection dense_;
    NormLayer norm_;
};

}  // namespace sy::model
