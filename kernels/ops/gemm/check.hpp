#pragma once

#include "kernels/ops/gemm/gemm.hpp"

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

}  // namespace sy::ops::detail
