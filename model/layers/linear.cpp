#include "model/layers/linear.hpp"

#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::model {

ProductInput::ProductInput(ConstTensorRef x, DType dtype, const Context& context) : ref_(x) {
    if (dtype == x.dtype()) return;
    own_ = Tensor(context.device, dtype, {x.rows(), x.cols()});
    ops::cast(x, own_, context);
    ref_ = own_;
}

ProductInput::ProductInput(Tensor&& x, DType dtype, const Context& context)
    : ProductInput(x.ref(), dtype, context) {
    if (own_.empty()) own_ = std::move(x);
}

void linear(ConstTensorRef x, ConstTensorRef weight, TensorRef y, const Context& context) {
    ops::multiply({x, ops::Transpose::no, weight, ops::Transpose::no, y}, context);
}

void linear_backward(const LinearBackward& in, TensorRef dx, GradientRef dweight, const Context& context) {
    ops::multiply({in.dy, ops::Transpose::no, in.weight, ops::Transpose::yes, dx, in.write}, context);
    ops::add_weight_gradient(in.x, in.dy, in.block_rows, dweight, context);
}

}  // namespace sy::model
