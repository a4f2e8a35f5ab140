#include "kernels/ops/sinkhorn/sinkhorn.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_columns(const char* name, ConstTensorRef rows, std::size_t columns) {
    SY_FITS(static_cast<index_t>(columns) == rows.cols(), name, ": ", columns, " columns of [", rows.rows(),
            ", ", rows.cols(), "]");
}

void check_same(const char* name, ConstTensorRef from, ConstTensorRef to) {
    SY_FITS(same_sides(from, to), name, ": [", from.rows(), ", ", from.cols(), "] into [", to.rows(), ", ",
            to.cols(), "]");
}

}  // namespace

void sinkhorn_powers(ConstTensorRef logits, TensorRef powers, const Context& context) {
    check_same("sinkhorn_powers", logits, powers);
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(logits.num_elements()));
    context.device.bodies().sinkhorn_powers(logits, powers, context);
}

void sinkhorn_columns(ConstTensorRef powers, std::span<const double> factor, TensorRef sums,
                      const Context& context) {
    check_columns("sinkhorn_columns", powers, factor.size());
    constexpr auto kWords = static_cast<index_t>(ExactSum::kNumWords);
    SY_FITS(has_sides(sums, powers.cols(), kWords) && sums.dtype() == DType::i64 && sums.is_contiguous(),
            "sinkhorn_columns: sums in ", dtype_name(sums.dtype()), " [", sums.rows(), ", ", sums.cols(),
            "] of ", powers.cols(), " columns, expected i64 of ", kWords, " words each");
    const Timed timed(context, OpKind::routing, 4.0 * static_cast<double>(powers.num_elements()));
    context.device.bodies().sinkhorn_columns(powers, factor, sums, context);
}

void sinkhorn_log_plan(ConstTensorRef logits, std::span<const double> log_factor, TensorRef plan,
                       const Context& context) {
    check_same("sinkhorn_log_plan", logits, plan);
    check_columns("sinkhorn_log_plan", logits, log_factor.size());
    const Timed timed(context, OpKind::routing, static_cast<double>(logits.num_elements()));
    context.device.bodies().sinkhorn_log_plan(logits, log_factor, plan, context);
}

}  // namespace sy::ops
