#include "kernels/ops/policy/policy.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void policy_keys(ConstTensorRef logits, const RandomKey& key, index_t first_token, TensorRef keys,
                 const Context& context) {
    context.device.bodies().policy_keys(logits, key, first_token, keys, context);
}

void policy_advantage(const PolicyBaseline& in, TensorRef advantage, const Context& context) {
    context.device.bodies().policy_advantage(in, advantage, context);
}

void policy_baseline_backward(double factor, ConstTensorRef advantage, TensorRef dbaseline,
                              const Context& context) {
    context.device.bodies().policy_baseline_backward(factor, advantage, dbaseline, context);
}

void policy_backward(const PolicyLoss& in, TensorRef dlogits, const Context& context) {
    context.device.bodies().policy_backward(in, dlogits, context);
}

}  // namespace sy::ops
