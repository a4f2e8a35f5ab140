// refused: no match for call to|does not provide a call operator
#include "kernels/core/tensor_ref.hpp"

float first(sy::ConstTensorRef x) {
    static_cast<void>(x.rows());
    return x(0, 0);  // WRONG
}
