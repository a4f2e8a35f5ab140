#include "kernels/ops/policy/policy.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void policy_keys(ConstTensorRef logits, const RandomKey& key, index_t first_token, TensorRef keys,
                 const Context& context) {
    SY_FITS(keys.rows() == logits.rows() && keys.cols() == logits.cols() && first_token >= 0,
            "policy_keys: [", logits.rows(), ", ", logits.cols(), "] into [", keys.rows(), ", ", keys.cols(),
            "], first token ", first_token);
    const Timed timed(context, OpKind::routing, 3.0 * static_cast<double>(keys.rows() * keys.cols()));
    context.device.bodies().policy_keys(logits, key, first_token, keys, context);
}

void policy_advantage(const PolicyBaseline& in, TensorRef advantage, const Context& context) {
    SY_FITS(in.slope.rows() == in.x.cols() && in.slope.cols() == 1 && in.offset.num_elements() == 1 &&
                in.token_loss.num_elements() == in.x.rows() && advantage.num_elements() == in.x.rows(),
            "policy_advantage: ", in.token_loss.num_elements(), " rewards for ", in.x.rows(), " tokens, ",
            advantage.num_elements(), " advantages, slope [", in.slope.rows(), ", ", in.slope.cols(),
            "] of width ", in.x.cols());
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(in.x.rows() * in.x.cols()));
    context.device.bodies().policy_advantage(in, advantage, context);
}

void policy_baseline_backward(double factor, ConstTensorRef advantage, TensorRef dbaseline,
                              const Context& context) {
    SY_FITS(advantage.num_elements() == dbaseline.num_elements(),
            "policy_baseline_backward: ", advantage.num_elements(), " advantages into ",
            dbaseline.num_elements());
    const Timed timed(context, OpKind::routing, static_cast<double>(advantage.num_elements()));
    context.device.bodies().policy_baseline_backward(factor, advantage, dbaseline, context);
}

void policy_backward(const PolicyLoss& in, TensorRef dlogits, const Context& context) {
    const index_t tokens = in.logits.rows();
    SY_FITS(same_sides(dlogits, in.logits) && in.lse.num_elements() == tokens && in.draws.rows() == tokens &&
                in.advantage.num_elements() == tokens,
            "policy_backward: logits [", tokens, ", ", in.logits.cols(), "], gradient [", dlogits.rows(),
            ", ", dlogits.cols(), "], ", in.lse.num_elements(), " logsumexps, draws of ", in.draws.rows(),
            " tokens, ", in.advantage.num_elements(), " advantages");
    const Timed timed(context, OpKind::routing,
                      static_cast<double>(in.logits.num_elements() * in.draws.cols()));
    context.device.bodies().policy_backward(in, dlogits, context);
}

}  // namespace sy::ops
