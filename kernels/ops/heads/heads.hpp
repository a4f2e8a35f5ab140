#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Keys and values of multi-head latent attention. T rows, A heads; of a head N columns that are not rotated, R rotated
/// ones, V of its value. A key is N then R, and all heads share the R.
/// @par Source  DeepSeek-V2, arXiv:2405.04434, section 2.1.3, equations 14 to 17
namespace sy::ops {

struct HeadWidths {
    index_t heads = 0;   ///< A
    index_t plain = 0;   ///< N
    index_t rotary = 0;  ///< R
    index_t value = 0;   ///< V

    index_t key() const { return plain + rotary; }
    /// Columns of what keys and values are spread from: N then V, head after head.
    index_t expanded() const { return heads * (plain + value); }
    /// Whether matrices have the sides that the operations below want.
    bool fit(ConstTensorRef expanded_rows, ConstTensorRef rotary_rows, ConstTensorRef k,
             ConstTensorRef v) const;
};

/// Gives every head its key, its own plain part and the rotary part of all, and its value.
/// @param expanded  [T, A * (N + V)] f32
/// @param rotary    [T, R] f32
/// @param k         [T, A * (N + R)] f32
/// @param v         [T, A * V] f32
/// @pre             widths.fit(expanded, rotary, k, v)
/// @throws ShapeError when they do not fit
void spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary, TensorRef k,
                  TensorRef v, const Context& context);

/// Backward of spread_heads: drotary is the sum over the heads, added to 0 in ascending order; all else is copied.
/// @param dk         [T, A * (N + R)] f32
/// @param dv         [T, A * V] f32
/// @param dexpanded  [T, A * (N + V)] f32
/// @param drotary    [T, R] f32
/// @pre              widths.fit(dexpanded, drotary, dk, dv)
/// @throws ShapeError when they do not fit
void gather_heads(const HeadWidths& widths, ConstTensorRef dk, ConstTensorRef dv, TensorRef dexpanded,
                  TensorRef drotary, const Context& context);

namespace ref {
void spread_heads(const HeadWidths& widths, MatrixView<const float> expanded, MatrixView<const float> rotary,
                  MatrixView<float> k, MatrixView<float> v);
void gather_heads(const HeadWidths& widths, MatrixView<const float> dk, MatrixView<const float> dv,
                  MatrixView<float> dexpanded, MatrixView<float> drotary);
}  // namespace ref

}  // namespace sy::ops
