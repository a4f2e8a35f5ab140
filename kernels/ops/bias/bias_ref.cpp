#include "kernels/ops/bias/bias.hpp"

namespace sy::ops::ref {

template <class In>
void bias_backward(MatrixView<const In> dy, std::span<double> gradient) {
    for (index_t t = 0; t < dy.rows; ++t) {
        for (index_t i = 0; i < dy.cols; ++i)
            gradient[static_cast<std::size_t>(i)] += static_cast<double>(static_cast<float>(dy(t, i)));
    }
}

template void bias_backward<float>(MatrixView<const float>, std::span<double>);
template void bias_backward<bf16>(MatrixView<const bf16>, std::span<double>);

}  // namespace sy::ops::ref
