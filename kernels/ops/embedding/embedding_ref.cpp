#include "kernels/ops/embedding/embedding.hpp"

namespace sy::ops::ref {

void embedding_backward(std::span<const std::int32_t> ids, MatrixView<const float> dout,
                        MatrixView<double> gradient) {
    for (index_t t = 0; t < dout.rows; ++t) {
        for (index_t i = 0; i < dout.cols; ++i) {
            gradient(ids[static_cast<std::size_t>(t)], i) += static_cast<double>(dout(t, i));
        }
    }
}

}  // namespace sy::ops::ref
