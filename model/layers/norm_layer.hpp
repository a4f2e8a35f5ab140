#pragma once

#include "kernels/ops/norm/norm.hpp"
#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// RMSNorm or LayerNorm of x, or of a running sum: the residual stream x becomes x + delta on the way.
class NormLayer {
  public:
    /// @param role  of the norm in its layer
    NormLayer(LayerContext& shared, const LayerKey& layer, Role role);

    /// @param delta  output of the previous sub-layer, added to `stream` first; null for none
    struct Result {
        Value* stream;  ///< [T, H] the residual stream after the addition
        Value* normed;  ///< [T, H]
    };
    Result forward(Tape& tape, Value& stream, Value* delta, const PassInfo& pass) const;

  private:
    ops::Norm norm() const;

    LayerContext& shared_;
    ParameterId gain_;
    ParameterId bias_;  ///< or -1
};

}  // namespace sy::model
