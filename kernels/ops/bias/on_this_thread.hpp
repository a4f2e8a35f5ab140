#pragma once

#include <span>

#include "kernels/core/host_view.hpp"

namespace sy::ops {

/// y[t] += bias in the calling thread, for rows that are in its cache: for the inside of an operation's tasks.
/// @param bias  [N]
/// @param y     [T, N]
/// @throws ShapeError when sides do not fit
void add_bias_on_this_thread(std::span<const float> bias, MatrixView<float> y);

}  // namespace sy::ops
