#pragma once

#include "kernels/core/error.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Refuses operands that do not fit each other: SY_FITS(y.cols == x.cols, "bias: ", y.cols, " columns for ", x.cols).
/// Every operation says so with this and throws ShapeError before it writes anything.
#define SY_FITS(condition, ...)                                              \
    do {                                                                     \
        if (!(condition)) throw ::sy::ShapeError(::sy::concat(__VA_ARGS__)); \
    } while (false)

namespace sy {

inline bool has_sides(ConstTensorRef x, index_t rows, index_t cols) {
    return x.rows() == rows && x.cols() == cols;
}
inline bool same_sides(ConstTensorRef a, ConstTensorRef b) {
    return has_sides(a, b.rows(), b.cols());
}

}  // namespace sy
