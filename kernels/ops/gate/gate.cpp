#include "kernels/ops/gate/gate.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

bool has_sides_or_is_null(ConstTensorRef x, index_t rows, index_t cols) {
    return x.is_null() || has_sides(x, rows, cols);
}

}  // namespace

void gate_scores(Score kind, ConstTensorRef logits, TensorRef scores, TensorRef lse, const Context& context) {
    SY_FITS(same_sides(scores, logits) && logits.cols() > 0 && lse.num_elements() == logits.rows(),
            "gate_scores: logits [", logits.rows(), ", ", logits.cols(), "], scores [", scores.rows(), ", ",
            scores.cols(), "], ", lse.num_elements(), " logsumexps");
    const Timed timed(context, OpKind::routing, 4.0 * static_cast<double>(logits.rows() * logits.cols()));
    context.device.bodies().gate_scores(kind, logits, scores, lse, context);
}

void gate_top_k(ConstTensorRef scores, TensorRef expert, const Context& context) {
    SY_FITS(expert.cols() >= 1 && expert.cols() <= scores.cols() && expert.rows() == scores.rows(),
            "gate_top_k: ", expert.cols(), " of ", scores.cols(), " experts for ", scores.rows(),
            " tokens into [", expert.rows(), ", ", expert.cols(), "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows() * scores.cols()));
    context.device.bodies().gate_top_k(scores, expert, context);
}

void gate_limit_groups(ConstTensorRef scores, const GroupLimit& rule, TensorRef open,
                       const Context& context) {
    SY_FITS(
        rule.groups >= 1 && scores.cols() % rule.groups == 0 && rule.limit >= 1 &&
            rule.limit <= rule.groups && rule.counted >= 1 && rule.counted <= scores.cols() / rule.groups &&
            open.rows() == scores.rows() && open.cols() == scores.cols(),
        "gate_limit_groups: ", rule.limit, " of ", rule.groups, " groups by their best ", rule.counted,
        " of scores [", scores.rows(), ", ", scores.cols(), "] into [", open.rows(), ", ", open.cols(), "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows() * scores.cols()));
    context.device.bodies().gate_limit_groups(scores, rule, open, context);
}

void gate_weights(const GateWeights& in, TensorRef weight, const Context& context) {
    SY_FITS((in.scores.is_null() || in.scores.rows() == in.expert.rows()) && same_sides(weight, in.expert),
            "gate_weights: scores of ", in.scores.rows(), " tokens, choices [", in.expert.rows(), ", ",
            in.expert.cols(), "], weights [", weight.rows(), ", ", weight.cols(), "]");
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(weight.num_elements()));
    context.device.bodies().gate_weights(in, weight, context);
}

void gate_draw_second(ConstTensorRef expert, ConstTensorRef weight, const SecondDraw& rule, TensorRef sent,
                      const Context& context) {
    SY_FITS(expert.cols() == 2 && weight.cols() == 2 && sent.cols() == 2 && weight.rows() == expert.rows() &&
                sent.rows() == expert.rows(),
            "gate_draw_second: choices [", expert.rows(), ", ", expert.cols(), "], weights [", weight.rows(),
            ", ", weight.cols(), "] into [", sent.rows(), ", ", sent.cols(),
            "], expected two choices a token");
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(expert.rows()));
    context.device.bodies().gate_draw_second(expert, weight, rule, sent, context);
}

void routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                  index_t first_token, TensorRef hash, const Context& context) {
    SY_FITS(static_cast<index_t>(kept.size()) == expert.rows() * expert.cols() && hash.num_elements() == 1,
            "routing_hash: choices [", expert.rows(), ", ", expert.cols(), "] and what became of ",
            kept.size(), ", into ", hash.num_elements(), " hashes");
    const Timed timed(context, OpKind::routing, 10.0 * static_cast<double>(kept.size()));
    context.device.bodies().routing_hash(expert, kept, layer, first_token, hash, context);
}

void gate_backward(const GateBackward& in, TensorRef dlogits, const Context& context) {
    const index_t tokens = in.forward.scores.rows();
    const index_t experts = in.forward.scores.cols();
    const ConstTensorRef expert = in.forward.expert;
    SY_FITS(has_sides(dlogits, tokens, experts) && expert.rows() == tokens &&
                has_sides_or_is_null(in.dweight, tokens, expert.cols()),
            "gate_backward: scores [", tokens, ", ", experts, "], dlogits [", dlogits.rows(), ", ",
            dlogits.cols(), "], choices [", expert.rows(), ", ", expert.cols(), "], weights [",
            in.dweight.rows(), ", ", in.dweight.cols(), "]");
    const index_t num_lse = in.dlse.num_elements();
    SY_FITS((in.dshare.empty() || static_cast<index_t>(in.dshare.size()) == experts) &&
                (num_lse == 0 || num_lse == tokens) &&
                has_sides_or_is_null(in.token_dshare, tokens, experts) &&
                has_sides_or_is_null(in.dlogit, tokens, experts),
            "gate_backward: [", tokens, ", ", experts, "] scores with ", in.dshare.size(), " and [",
            in.token_dshare.rows(), ", ", in.token_dshare.cols(), "] gradients of scores, ", num_lse,
            " of logsumexps, [", in.dlogit.rows(), ", ", in.dlogit.cols(), "] of logits");
    SY_FITS(in.kind == Score::softmax || num_lse == 0 ||
                (has_sides(in.logits, tokens, experts) && in.lse.num_elements() == tokens),
            "gate_backward: the z-loss of sigmoid scores needs logits and logsumexps");
    const Timed timed(context, OpKind::routing, 6.0 * static_cast<double>(tokens * experts));
    context.device.bodies().gate_backward(in, dlogits, context);
}

}  // namespace sy::ops
