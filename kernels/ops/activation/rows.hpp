#pragma once

#include <algorithm>
#include <span>

#include "kernels/core/simd.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/activation/nonlinearity.hpp"

namespace sy::ops::detail {

/// Row `r` of a matrix; null for a matrix that is not there.
template <class T>
SY_INLINE T* row_or_null(const MatrixView<T>& x, index_t r) {
    return x.data == nullptr ? nullptr : x.data + r * x.stride;
}

SY_INLINE float weight_of(std::span<const float> weight, index_t row) {
    return weight.empty() ? 1.0F : weight[static_cast<std::size_t>(row)];
}

/// Calls body with the columns of each piece of a row.
template <class Body>
void for_pieces(index_t cols, Body body) {
    for (index_t first = 0; first < cols; first += kPieceElements)
        body(Range{first, std::min(first + kPieceElements, cols)});
}

/// Whether a matrix has the sides of `like`, or none where it has to be absent.
enum class Presence { absent, present };
template <class T, class Like>
bool fits(const MatrixView<T>& x, const MatrixView<Like>& like, Presence presence = Presence::present) {
    if (presence == Presence::absent) return x.data == nullptr;
    return x.rows == like.rows && x.cols == like.cols && (x.data != nullptr || x.rows * x.cols == 0);
}
inline Presence present_if(bool condition) {
    return condition ? Presence::present : Presence::absent;
}
template <class T>
bool fits_or_empty(std::span<T> values, index_t count) {
    return values.empty() || static_cast<index_t>(values.size()) == count;
}

}  // namespace sy::ops::detail
