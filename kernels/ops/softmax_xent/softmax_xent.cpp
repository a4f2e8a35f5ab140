#include "kernels/ops/softmax_xent/softmax_xent.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const OutputZLoss& z, const Context& context) {
    const auto num_rows = static_cast<index_t>(target.size());
    SY_FITS(num_rows == logits.rows() && loss.num_elements() == num_rows &&
                (z.lse.is_null() || z.lse.num_elements() == num_rows),
            "softmax_xent: ", logits.rows(), " rows, ", num_rows, " targets, ", loss.num_elements(),
            " losses, ", z.lse.num_elements(), " sums of exponentials");
    for (index_t t = 0; t < num_rows; ++t) {
        const std::int32_t of_row = target[static_cast<std::size_t>(t)];
        SY_FITS(of_row >= -1 && of_row < logits.cols(), "softmax_xent: target ", of_row, " at row ", t,
                " of ", logits.cols(), " classes");
    }
    const Timed timed(context, OpKind::softmax, 6.0 * static_cast<double>(logits.rows() * logits.cols()));
    context.device.bodies().softmax_xent(logits, target, scale, loss, z, context);
}

void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const Context& context) {
    softmax_xent(logits, target, scale, loss, {}, context);
}

}  // namespace sy::ops
