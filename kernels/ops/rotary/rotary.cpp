#include "kernels/ops/rotary/rotary.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void rotary(TensorRef x, RotaryHeads heads, std::span<const std::int32_t> position, const RotaryTable& table,
            Direction direction, const Context& context) {
    context.device.bodies().rotary(x, heads, position, table, direction, context);
}

}  // namespace sy::ops
