// refused: could not convert|cannot convert|no viable conversion
#include "kernels/core/tensor_ref.hpp"

void write(sy::TensorRef y);
void pass_on(sy::ConstTensorRef x, sy::TensorRef y) {
    static_cast<void>(x.cols());
    write(y);
    write(x);  // WRONG
}
