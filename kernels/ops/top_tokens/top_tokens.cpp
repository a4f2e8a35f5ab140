#include "kernels/ops/top_tokens/top_tokens.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void count_key_digits(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds, int shift,
                      TensorRef counts, const Context& context) {
    context.device.bodies().count_key_digits(scores, thresholds, shift, counts, context);
}

void take_top_tokens(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                     PerExpertSpan<const index_t> earlier, TensorRef taken, const Context& context) {
    context.device.bodies().take_top_tokens(scores, thresholds, earlier, taken, context);
}

void list_takers(ConstTensorRef scores, ConstTensorRef taken, TensorRef expert, const Context& context) {
    context.device.bodies().list_takers(scores, taken, expert, context);
}

}  // namespace sy::ops
