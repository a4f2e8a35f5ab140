#include "kernels/ops/balance/balance.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void share_sums(Score kind, ConstTensorRef scores, std::span<ExactSum> sums, const Context& context) {
    context.device.bodies().share_sums(kind, scores, sums, context);
}

void choice_sums(ConstTensorRef expert, ConstTensorRef value, std::span<ExactSum> sums,
                 const Context& context) {
    context.device.bodies().choice_sums(expert, value, sums, context);
}

void add_to_choices(ConstTensorRef expert, std::span<const float> factor, TensorRef values,
                    const Context& context) {
    context.device.bodies().add_to_choices(expert, factor, values, context);
}

void count_reached(ConstTensorRef expert, index_t run_size, std::span<ExactSum> sums,
                   const Context& context) {
    context.device.bodies().count_reached(expert, run_size, sums, context);
}

void value_sum(ConstTensorRef values, ExactSum& sum, const Context& context) {
    share_sums(Score::softmax, values.as_matrix(values.num_elements(), 1), {&sum, 1}, context);
}

void square_sum(ConstTensorRef values, ExactSum& sum, const Context& context) {
    context.device.bodies().square_sum(values, sum, context);
}

void add_scaled(double factor, ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().add_scaled(factor, x, y, context);
}

void sequence_frequencies(ConstTensorRef expert, double unit, TensorRef frequency, const Context& context) {
    context.device.bodies().sequence_frequencies(expert, unit, frequency, context);
}

void sequence_sum(Score kind, ConstTensorRef scores, ConstTensorRef frequency, ExactSum& sum,
                  const Context& context) {
    context.device.bodies().sequence_sum(kind, scores, frequency, sum, context);
}

void sequence_backward(double scale, ConstTensorRef frequency, TensorRef dshare, const Context& context) {
    context.device.bodies().sequence_backward(scale, frequency, dshare, context);
}

void chance_distances(const Chances& in, TensorRef distance, const Context& context) {
    context.device.bodies().chance_distances(in, distance, context);
}

void chance_backward(const Chances& in, std::span<const float> factor, ConstTensorRef distance,
                     TensorRef density, const ChanceGradients& gradients, const Context& context) {
    context.device.bodies().chance_backward(in, factor, distance, density, gradients, context);
}

}  // namespace sy::ops
