#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// Round to nearest even; NaN stays NaN. Same shapes.
void cast(MatrixView<const float> from, MatrixView<bf16> to, const Context& context);
void cast(MatrixView<const bf16> from, MatrixView<float> to, const Context& context);

}  // namespace sy::ops
