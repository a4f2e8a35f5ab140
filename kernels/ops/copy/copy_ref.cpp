#include "kernels/ops/copy/copy.hpp"

namespace sy::ops::ref {

void copy(MatrixView<const float> x, MatrixView<float> y) {
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t i = 0; i < x.cols; ++i) y(t, i) = x(t, i);
    }
}

}  // namespace sy::ops::ref
