#include "kernels/ops/random/random.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void fill_normal(const RandomKey& key, index_t first, float deviation, TensorRef values,
                 const Context& context) {
    context.device.bodies().fill_normal(key, first, deviation, values, context);
}

void fill_gumbel(const RandomKey& key, index_t first, float scale, TensorRef values, const Context& context) {
    context.device.bodies().fill_gumbel(key, first, scale, values, context);
}

void jitter(ConstTensorRef x, const RandomKey& key, index_t first_token, float eps, TensorRef y,
            const Context& context) {
    context.device.bodies().jitter(x, key, first_token, eps, y, context);
}

}  // namespace sy::ops
