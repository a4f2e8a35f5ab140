#include "kernels/ops/sinkhorn/sinkhorn.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void sinkhorn_powers(ConstTensorRef logits, TensorRef powers, const Context& context) {
    context.device.bodies().sinkhorn_powers(logits, powers, context);
}

void sinkhorn_columns(ConstTensorRef powers, std::span<const double> factor, std::span<ExactSum> sums,
                      const Context& context) {
    context.device.bodies().sinkhorn_columns(powers, factor, sums, context);
}

void sinkhorn_log_plan(ConstTensorRef logits, std::span<const double> log_factor, TensorRef plan,
                       const Context& context) {
    context.device.bodies().sinkhorn_log_plan(logits, log_factor, plan, context);
}

}  // namespace sy::ops
