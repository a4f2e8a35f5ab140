#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

namespace sy::ops {

/// From f32 to bf16, rounded to nearest even (NaN stays NaN), or from bf16 to f32.
/// @throws ShapeError when the sides differ, or for other dtypes
void cast(ConstTensorRef from, TensorRef to, const Context& context);

}  // namespace sy::ops
