#include "kernels/ops/norm/norm.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void norm(const Norm& rule, ConstTensorRef x, TensorRef y, const NormStatistics& statistics,
          const Context& context) {
    context.device.bodies().norm(rule, x, y, statistics, context);
}

void add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
              const Context& context) {
    context.device.bodies().add_norm(rule, rows, statistics, context);
}

void norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx, const NormGradients& gradients,
                   const Context& context) {
    context.device.bodies().norm_backward(rule, in, dx, gradients, context);
}

}  // namespace sy::ops
