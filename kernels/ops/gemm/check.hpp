#pragma once

#include <algorithm>
#include <span>

#include "kernels/ops/gemm/host_gemm.hpp"

namespace sy::ops::detail {

/// @return the summed dimension K. @throws ShapeError when the three sides do not fit
template <class In>
index_t check_sides(const HostProduct<In>& product) {
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
    return k;
}

/// C when there is nothing to sum: zero or unchanged. @return whether the product is finished by that
template <class In>
bool finish_empty(const HostProduct<In>& product, index_t num_k) {
    if (product.c.rows == 0 || product.c.cols == 0) return true;
    if (num_k > 0) return false;
    if (product.write == Write::overwrite) {
        for (index_t m = 0; m < product.c.rows; ++m) std::ranges::fill(product.c.row_span(m), 0.0F);
    }
    return true;
}

template <class In>
void check_gradient_sides(const GradientProduct<In>& product) {
    const std::span<const index_t> blocks = product.blocks;
    const GradientView& gradient = product.gradient;
    const bool blocks_fit = std::ranges::is_sorted(blocks) &&
                            (blocks.empty() || (blocks.front() >= 0 && blocks.back() <= product.x.rows));
    const bool scratch_fits =
        product.scratch.rows == product.x.cols && product.scratch.cols == product.dy.cols;
    if (product.x.rows == product.dy.rows && blocks_fit && scratch_fits && gradient.fixed != nullptr) return;
    throw ShapeError(concat(
        "gemm: x [", product.x.rows, ", ", product.x.cols, "], dy [", product.dy.rows, ", ", product.dy.cols,
        "], ", blocks.size(), " ascending boundaries of blocks and scratch [", product.scratch.rows, ", ",
        product.scratch.cols, "] do not fit each other, or the gradient is not in fixed point"));
}

}  // namespace sy::ops::detail
