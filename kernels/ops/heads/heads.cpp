#include "kernels/ops/heads/heads.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary, TensorRef k,
                  TensorRef v, const Context& context) {
    context.device.bodies().spread_heads(widths, expanded, rotary, k, v, context);
}

void gather_heads(const HeadWidths& widths, ConstTensorRef dk, ConstTensorRef dv, TensorRef dexpanded,
                  TensorRef drotary, const Context& context) {
    context.device.bodies().gather_heads(widths, dk, dv, dexpanded, drotary, context);
}

}  // namespace sy::ops
