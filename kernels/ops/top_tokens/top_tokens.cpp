#include "kernels/ops/top_tokens/top_tokens.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void count_key_digits(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds, int shift,
                      TensorRef counts, const Context& context) {
    SY_FITS(thresholds.size() == scores.cols() && counts.rows() == scores.cols() &&
                counts.cols() == kKeyDigits && counts.is_contiguous() && shift >= 0 &&
                shift <= kKeyBits - kKeyDigitBits,
            "count_key_digits: ", thresholds.size(), " thresholds and counts [", counts.rows(), ", ",
            counts.cols(), "] of ", scores.cols(), " experts, shift ", shift);
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.num_elements()));
    context.device.bodies().count_key_digits(scores, thresholds, shift, counts, context);
}

void take_top_tokens(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                     PerExpertSpan<const index_t> earlier, TensorRef taken, const Context& context) {
    SY_FITS(
        thresholds.size() == scores.cols() && earlier.size() == scores.cols() && same_sides(scores, taken),
        "take_top_tokens: ", thresholds.size(), " thresholds and ", earlier.size(), " counts for [",
        scores.rows(), ", ", scores.cols(), "] into [", taken.rows(), ", ", taken.cols(), "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.num_elements()));
    context.device.bodies().take_top_tokens(scores, thresholds, earlier, taken, context);
}

void list_takers(ConstTensorRef scores, ConstTensorRef taken, TensorRef expert, const Context& context) {
    SY_FITS(same_sides(scores, taken) && expert.rows() == scores.rows(), "list_takers: scores [",
            scores.rows(), ", ", scores.cols(), "], taken [", taken.rows(), ", ", taken.cols(), "] into [",
            expert.rows(), ", ", expert.cols(), "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows() * scores.cols()));
    context.device.bodies().list_takers(scores, taken, expert, context);
}

}  // namespace sy::ops
