#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/host_view.hpp"

/// Dropout whose mask depends on the key and the global element alone: never on rank, thread or order.
namespace sy::ops {

/// y = x / (1 - probability), or 0 where element (first_row + t) * H + h of the stream is dropped: where
/// uniform(key, element) < probability. Backward is the same call on the gradient.
/// @param x, y         [T, H] f32; may be the same
/// @param first_row    row 0 of x among all rows of the global batch
/// @param probability  of dropping, in [0, 1); 0 copies
/// @throws ShapeError when the shapes differ; LogicError when the probability is outside
/// @par Source  Srivastava et al., "Dropout", JMLR 15 (2014)
void dropout(ConstTensorRef x, const RandomKey& key, index_t first_row, float probability, TensorRef y,
             const Context& context);

/// Which rows are dropped from, and where each lies in the stream.
struct DropoutRows {
    RandomKey key;
    float probability = 0.0F;              ///< in [0, 1)
    std::span<const index_t> stream_row;   ///< [I] element h of row i is element stream_row[i] * H + h
    std::span<const std::int32_t> source;  ///< [I] row of x that row i is taken from; empty: row i
};

/// y[i] = dropout of x[source[i]], for rows that lie anywhere in the stream. A product is taken in float32 and rounded
/// once.
/// @param x  [*, H] f32 or bf16
/// @param y  [I, H] of the same dtype; may be x when there are no sources
/// @throws ShapeError when shapes or dtypes do not fit or a row is not there; LogicError when the probability is outside
void dropout_rows(ConstTensorRef x, const DropoutRows& rows, TensorRef y, const Context& context);

namespace ref {
void dropout(MatrixView<const float> x, const RandomKey& key, index_t first_row, float probability,
             MatrixView<float> y);
}  // namespace ref

}  // namespace sy::ops
