#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Random fills whose values depend on the key and the global index alone: never on rank, thread or order.
/// All functions throw ShapeError when sides do not fit or a first element or token is negative.
namespace sy::ops {

/// values[i] = mean 0 normal with `deviation`, for global element first + i. @param values  f32, without gaps
void fill_normal(const RandomKey& key, index_t first, float deviation, TensorRef values,
                 const Context& context);

/// values[i] = scale * a standard Gumbel number, for global element first + i. @param values  f32, without gaps
void fill_gumbel(const RandomKey& key, index_t first, float scale, TensorRef values, const Context& context);

/// y = x * u, u uniform in [1 - eps, 1 + eps] for element (first_token + t) * H + h. x, y [T, H] f32; may be the same.
/// Backward is the same call on the gradient.
/// @par Source  input jitter, Fedus et al., Switch Transformers, arXiv:2101.03961
void jitter(ConstTensorRef x, const RandomKey& key, index_t first_token, float eps, TensorRef y,
            const Context& context);

}  // namespace sy::ops
