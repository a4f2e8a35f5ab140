#include "kernels/ops/optimizer/optimizer.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    const std::size_t count = operands.weight.size();
    SY_FITS(operands.m.size() == count && operands.v.size() == count && operands.gradient.size() == count &&
                (operands.working.empty() || operands.working.size() == count),
            "adamw: ", count, " weights, ", operands.m.size(), " m, ", operands.v.size(), " v, ",
            operands.gradient.size(), " gradients");
    SY_REQUIRE(step.step >= 1, "adamw: step ", step.step);
    const Timed timed(context, OpKind::optimizer, 14.0 * static_cast<double>(count));
    context.device.bodies().adamw(operands, step, context);
}

}  // namespace sy::ops
