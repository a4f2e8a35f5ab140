#pragma once

#include "kernels/core/error.hpp"

/// Refuses operands that do not fit each other: SY_FITS(y.cols == x.cols, "bias: ", y.cols, " columns for ", x.cols).
/// Every operation says so with this and throws ShapeError before it writes anything.
#define SY_FITS(condition, ...)                                              \
    do {                                                                     \
        if (!(condition)) throw ::sy::ShapeError(::sy::concat(__VA_ARGS__)); \
    } while (false)
