#include "model/layers/linear.hpp"

#include <cmath>
#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::model {

float output_deviation(const ModelConfig& config) {
    return static_cast<float>(config.init_std / std::sqrt(2.0 * static_cast<double>(config.layers)));
}

template <>
ProductInput<float>::ProductInput(MatrixView<const float> x, const Context&) : view_(x) {}

template <>
ProductInput<bf16>::ProductInput(MatrixView<const float> x, const Context& context)
    : rounded_(context.arena, DType::bf16, {x.rows, x.cols}) {
    ops::cast(x, rounded_.matrix<bf16>(), context);
    view_ = std::as_const(rounded_).matrix<bf16>();
}

template <class In>
void linear(MatrixView<const In> x, MatrixView<const In> weight, MatrixView<float> y,
            const Context& context) {
    ops::multiply<In>({x, ops::Transpose::no, weight, ops::Transpose::no, y}, context);
}

template <class In>
void linear_backward(const LinearBackward<In>& in, MatrixView<float> dx, GradientView dweight,
                     const Context& context) {
    ops::multiply<In>({in.dy, ops::Transpose::no, in.weight, ops::Transpose::yes, dx, in.write}, context);
    ops::add_weight_gradient(in.x, in.dy, in.block_rows, dweight, context);
}

template void linear<float>(MatrixView<const float>, MatrixView<const float>, MatrixView<float>,
                            const Context&);
template void linear<bf16>(MatrixView<const bf16>, MatrixView<const bf16>, MatrixView<float>, const Context&);
template void linear_backward<float>(const LinearBackward<float>&, MatrixView<float>, GradientView,
                                     const Context&);
template void linear_backward<bf16>(const LinearBackward<bf16>&, MatrixView<float>, GradientView,
                                    const Context&);

}  // namespace sy::model
