#pragma once

#include "kernels/ops/norm/norm.hpp"
#include "model/layers/layer_context.hpp"

namespace sy::model {

/// RMSNorm inside a layer: of every query or key head, of all of them together, or of the compressed rows of latent
/// attention.
/// @par Source  Zhang and Sennrich, arXiv:1910.07467; QK norm: Henry et al., arXiv:2010.04245
class RowNorm {
  public:
    /// @param role  of the norm in its layer; its gain is as long as what is normalised
    RowNorm(LayerContext& shared, const LayerKey& layer, Role role);

    /// What backward needs: the rows before the norm.
    struct Saved {
        Tensor x;
        Tensor rstd;
    };
    /// Normalises in place every run of `width` columns of every row.
    /// @param x  [T, n * width] f32, contiguous
    Saved forward(TensorRef x, const Context& context) const;
    /// Turns dy, of the shape of x, into dx in place.
    /// @param block_rows  rows [T] of one sequence
    void backward(const Saved& saved, TensorRef dy, index_t block_rows, const Context& context) const;
    /// The same as forward, keeping nothing.
    void apply(TensorRef x, const Context& context) const;

  private:
    /// [T * n, width]
    template <class Ref>
    Ref as_rows(Ref x) const;
    ops::Norm rule() const;

    LayerContext& shared_;
    ParameterId gain_;
    index_t width_;
};

}  // namespace sy::model
