#pragma once

#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/gemm/tile.hpp"

namespace sy::ops::detail {

/// @return the summed dimension K. @throws ShapeError when the three sides do not fit or beta is not 0 or 1
template <class In>
index_t check_sides(const Product<In>& product) {
    const bool ta = product.transpose_a == Transpose::yes;
    const bool tb = product.transpose_b == Transpose::yes;
    const index_t m = ta ? product.a.cols : product.a.rows;
    const index_t k = ta ? product.a.rows : product.a.cols;
    const index_t kb = tb ? product.b.cols : product.b.rows;
    const index_t n = tb ? product.b.rows : product.b.cols;
    if (m != product.c.rows || n != product.c.cols || k != kb) {
        throw ShapeError(concat("gemm: [", m, ", ", k, "] times [", kb, ", ", n, "] does not make [",
                                product.c.rows, ", ", product.c.cols, "]"));
    }
    if (product.beta != 0.0F && product.beta != 1.0F) {
        throw ShapeError(concat("gemm: beta is ", product.beta, ", must be 0 or 1"));
    }
    return k;
}

/// C when there is nothing to sum: zero or unchanged. @return whether the product is finished by that
template <class In>
bool finish_empty(const Product<In>& product, index_t num_k) {
    if (product.c.rows == 0 || product.c.cols == 0) return true;
    if (num_k > 0) return false;
    if (product.beta == 0.0F) {
        for (index_t m = 0; m < product.c.rows; ++m) {
            for (float& value : product.c.row_span(m)) value = 0.0F;
        }
    }
    return true;
}

/// Bytes of scratch memory (64-byte aligned) that one call of multiply_ordered uses.
index_t ordered_scratch_bytes();

/// Longest sum that is one piece: longer ones continue from C.
inline constexpr index_t kBlockK = 256;

/// The `reproducible` body: each element of C one chain of fused multiply-adds over ascending k.
template <class In>
void multiply_ordered(const Product<In>& product, const TileFunctions& tiles, void* scratch);

/// The same, added to a fixed-point gradient. Sums of up to kBlockK are added tile by tile while they are in the
/// first-level cache; longer ones pass through C.
template <class In>
void add_product(const Product<In>& product, const GradientTile& target, const TileFunctions& tiles,
                 void* scratch);

/// Whether the ordered body serves a `fast` float32 product. Transposing a panel of B costs the library more than the
/// ordered body, which shares it among more rows; for the fewest rows neither gains.
inline bool use_own_body(const Product<float>& product, FastBody body) {
    if (body != FastBody::measured) return body == FastBody::own;
    return product.transpose_b == Transpose::yes && product.c.rows >= kTileRows;
}

}  // namespace sy::ops::detail
