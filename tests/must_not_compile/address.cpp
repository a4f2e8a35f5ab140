// refused: has no member named .data.|no member named 'data'
#include "kernels/core/tensor_ref.hpp"

const void* address(sy::ConstTensorRef x) {
    static_cast<void>(x.cols());
    return x.data();  // WRONG
}
