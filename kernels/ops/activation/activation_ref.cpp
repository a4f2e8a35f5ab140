#include <cmath>

#include "kernels/ops/activation/activation.hpp"

namespace sy::ops::ref {
namespace {

double silu(double g) {
    return g / (1.0 + std::exp(-g));
}

double silu_slope(double g) {
    const double s = 1.0 / (1.0 + std::exp(-g));
    return s * (1.0 + g * (1.0 - s));
}

}  // namespace

void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h) {
    for (index_t r = 0; r < gate.rows; ++r) {
        for (index_t f = 0; f < gate.cols; ++f) {
            h(r, f) =
                static_cast<float>(silu(static_cast<double>(gate(r, f))) * static_cast<double>(up(r, f)));
        }
    }
}

template <class In>
void swiglu_backward(const SwigluBackward<In>& block) {
    for (index_t r = 0; r < block.gate.rows; ++r) {
        const auto row = static_cast<std::size_t>(r);
        const double weight = block.weight.empty() ? 1.0 : static_cast<double>(block.weight[row]);
        double dot = 0.0;
        for (index_t f = 0; f < block.gate.cols; ++f) {
            const auto g = static_cast<double>(static_cast<float>(block.gate(r, f)));
            const auto u = static_cast<double>(static_cast<float>(block.up(r, f)));
            const auto dh = static_cast<double>(block.dh(r, f));
            dot += silu(g) * u * dh;
            block.h(r, f) = In(static_cast<float>(silu(g) * u));
            block.dgate(r, f) = In(static_cast<float>(weight * dh * u * silu_slope(g)));
            block.dup(r, f) = In(static_cast<float>(weight * dh * silu(g)));
        }
        if (!block.dot.empty()) block.dot[row] = static_cast<float>(dot);
    }
}

template void swiglu_backward<float>(const SwigluBackward<float>&);
template void swiglu_backward<bf16>(const SwigluBackward<bf16>&);

}  // namespace sy::ops::ref
