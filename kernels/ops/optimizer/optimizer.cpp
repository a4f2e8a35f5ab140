#include "kernels/ops/optimizer/optimizer.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    context.device.bodies().adamw(operands, step, context);
}

}  // namespace sy::ops
