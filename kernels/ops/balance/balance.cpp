#include "kernels/ops/balance/balance.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

/// Arithmetic of sums over the rows.
double sum_flops(index_t rows, index_t num_sums) {
    return static_cast<double>(rows) * static_cast<double>(num_sums);
}

void check_sums(ConstTensorRef sums) {
    constexpr auto kWords = static_cast<index_t>(ExactSum::kNumWords);
    SY_FITS(sums.dtype() == DType::i64 && sums.cols() == kWords && sums.is_contiguous(), "exact sums in ",
            dtype_name(sums.dtype()), " [", sums.rows(), ", ", sums.cols(), "], expected i64 of ", kWords,
            " words each");
}

void check_sum(ConstTensorRef sum) {
    check_sums(sum);
    SY_FITS(sum.rows() == 1, "exact sums: ", sum.rows(), " where one is expected");
}

void check_choices(ConstTensorRef expert, ConstTensorRef value) {
    SY_FITS(same_sides(expert, value), "choices [", expert.rows(), ", ", expert.cols(), "] with values [",
            value.rows(), ", ", value.cols(), "]");
}

/// @return arithmetic of what is done for every token and expert
double check_sequences(index_t tokens, ConstTensorRef frequency) {
    const index_t sequences = frequency.rows();
    SY_FITS(sequences == 0 ? tokens == 0 : tokens % sequences == 0, "balance of sequences: ", tokens,
            " tokens are not ", sequences, " sequences");
    return 2.0 * static_cast<double>(tokens * frequency.cols());
}

/// @return arithmetic of what is done for every chance
double check_chances(const Chances& in) {
    SY_FITS(same_sides(in.clean, in.logits) && same_sides(in.scale, in.logits) && in.best.cols() >= 2 &&
                in.best.rows() == in.logits.rows(),
            "chances: logits [", in.logits.rows(), ", ", in.logits.cols(), "], the highest [", in.best.rows(),
            ", ", in.best.cols(), "]");
    return 6.0 * static_cast<double>(in.logits.num_elements());
}

}  // namespace

void share_sums(Score kind, ConstTensorRef scores, TensorRef sums, const Context& context) {
    check_sums(sums);
    SY_FITS(sums.rows() > 0 && scores.cols() % sums.rows() == 0, "share_sums: ", sums.rows(),
            " sums of scores [", scores.rows(), ", ", scores.cols(), "]");
    const Timed timed(context, OpKind::routing, sum_flops(scores.rows(), sums.rows()));
    context.device.bodies().share_sums(kind, scores, sums, context);
}

void choice_sums(ConstTensorRef expert, ConstTensorRef value, TensorRef sums, const Context& context) {
    check_choices(expert, value);
    check_sums(sums);
    const Timed timed(context, OpKind::routing, sum_flops(expert.rows(), sums.rows()));
    context.device.bodies().choice_sums(expert, value, sums, context);
}

void add_to_choices(ConstTensorRef expert, std::span<const float> factor, TensorRef values,
                    const Context& context) {
    check_choices(expert, values);
    const Timed timed(context, OpKind::routing, static_cast<double>(expert.num_elements()));
    context.device.bodies().add_to_choices(expert, factor, values, context);
}

void count_reached(ConstTensorRef expert, index_t run_size, TensorRef sums, const Context& context) {
    SY_FITS(run_size > 0, "count_reached: runs of ", run_size, " experts");
    check_sums(sums);
    const Timed timed(context, OpKind::routing, sum_flops(expert.rows(), sums.rows()));
    context.device.bodies().count_reached(expert, run_size, sums, context);
}

void value_sum(ConstTensorRef values, TensorRef sum, const Context& context) {
    check_sum(sum);
    share_sums(Score::softmax, values.as_matrix(values.num_elements(), 1), sum, context);
}

void square_sum(ConstTensorRef values, TensorRef sum, const Context& context) {
    check_sum(sum);
    const Timed timed(context, OpKind::routing, sum_flops(values.num_elements(), 1));
    context.device.bodies().square_sum(values, sum, context);
}

std::vector<ExactSum> exact_sums(ConstTensorRef words) {
    check_sums(words);
    std::vector<ExactSum> sums(static_cast<std::size_t>(words.rows()));
    ExactSum::from_words(host_values<const std::int64_t>(words), sums);
    return sums;
}

void add_scaled(double factor, ConstTensorRef x, TensorRef y, const Context& context) {
    SY_FITS(x.num_elements() == y.num_elements(), "add_scaled: ", x.num_elements(), " values to ",
            y.num_elements());
    const Timed timed(context, OpKind::elementwise, 2.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().add_scaled(factor, x, y, context);
}

void sequence_frequencies(ConstTensorRef expert, double unit, TensorRef frequency, const Context& context) {
    const Timed timed(context, OpKind::routing, check_sequences(expert.rows(), frequency));
    context.device.bodies().sequence_frequencies(expert, unit, frequency, context);
}

void sequence_sum(Score kind, ConstTensorRef scores, ConstTensorRef frequency, TensorRef sum,
                  const Context& context) {
    SY_FITS(scores.cols() == frequency.cols(), "sequence_sum: scores of ", scores.cols(),
            " experts, frequencies of ", frequency.cols());
    check_sum(sum);
    const Timed timed(context, OpKind::routing, check_sequences(scores.rows(), frequency));
    context.device.bodies().sequence_sum(kind, scores, frequency, sum, context);
}

void sequence_backward(double scale, ConstTensorRef frequency, TensorRef dshare, const Context& context) {
    SY_FITS(dshare.cols() == frequency.cols(), "sequence_backward: gradients of ", dshare.cols(),
            " experts, frequencies of ", frequency.cols());
    const Timed timed(context, OpKind::routing, check_sequences(dshare.rows(), frequency));
    context.device.bodies().sequence_backward(scale, frequency, dshare, context);
}

void chance_distances(const Chances& in, TensorRef distance, const Context& context) {
    const double flops = check_chances(in);
    SY_FITS(same_sides(distance, in.logits), "chance_distances: into [", distance.rows(), ", ",
            distance.cols(), "]");
    const Timed timed(context, OpKind::routing, flops);
    context.device.bodies().chance_distances(in, distance, context);
}

void chance_backward(const Chances& in, std::span<const float> factor, ConstTensorRef distance,
                     TensorRef density, const ChanceGradients& gradients, const Context& context) {
    const double flops = check_chances(in);
    SY_FITS(same_sides(distance, in.logits) && same_sides(density, in.logits) &&
                same_sides(gradients.clean, in.logits) && same_sides(gradients.logits, in.logits) &&
                same_sides(gradients.scale, in.logits) &&
                static_cast<index_t>(factor.size()) == distance.cols(),
            "chance_backward: distances [", distance.rows(), ", ", distance.cols(), "] with ", factor.size(),
            " factors");
    const Timed timed(context, OpKind::routing, flops);
    context.device.bodies().chance_backward(in, factor, distance, density, gradients, context);
}

}  // namespace sy::ops
