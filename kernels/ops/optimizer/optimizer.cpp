#include "kernels/ops/optimizer/optimizer.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    const index_t count = operands.weight.num_elements();
    SY_FITS(operands.m.num_elements() == count && operands.v.num_elements() == count &&
                operands.gradient.num_elements() == count &&
                (operands.working.is_null() || operands.working.num_elements() == count),
            "adamw: ", count, " weights, ", operands.m.num_elements(), " m, ", operands.v.num_elements(),
            " v, ", operands.gradient.num_elements(), " gradients");
    SY_REQUIRE(step.step >= 1, "adamw: step ", step.step);
    const Timed timed(context, OpKind::optimizer, 14.0 * static_cast<double>(count));
    context.device.bodies().adamw(operands, step, context);
}

}  // namespace sy::ops
