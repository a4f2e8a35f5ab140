#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"

/// Random fills whose values depend on the key and the global index alone: never on rank, thread or order.
namespace sy::ops {

/// values[i] = mean 0 normal with `deviation`, for global element first + i.
void fill_normal(const RandomKey& key, index_t first, float deviation, std::span<float> values,
                 const Context& context);

/// values[i] = scale * a standard Gumbel number, for global element first + i.
void fill_gumbel(const RandomKey& key, index_t first, float scale, std::span<float> values,
                 const Context& context);

/// y = x * u, u uniform in [1 - eps, 1 + eps] for element (first_token + t) * H + h. x, y [T, H]; may be the same.
/// Backward is the same call on the gradient.
/// @par Source  input jitter, Fedus et al., Switch Transformers, arXiv:2101.03961
void jitter(MatrixView<const float> x, const RandomKey& key, index_t first_token, float eps,
            MatrixView<float> y, const Context& context);

}  // namespace sy::ops
