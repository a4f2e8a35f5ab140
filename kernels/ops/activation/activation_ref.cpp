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

double weight_of(std::span<const float> weight, index_t row) {
    return weight.empty() ? 1.0 : static_cast<double>(weight[static_cast<std::size_t>(row)]);
}

template <class In>
In rounded(double value) {
    return In(static_cast<float>(value));
}

template <class T>
double wide(T value) {
    return static_cast<double>(static_cast<float>(value));
}

}  // namespace

template <class In>
void swiglu(const Swiglu<In>& block) {
    for (index_t r = 0; r < block.gate.rows; ++r) {
        for (index_t f = 0; f < block.gate.cols; ++f) {
            const double g = wide(block.gate(r, f));
            const double u = wide(block.up(r, f));
            if (block.kept_gate.data != nullptr) block.kept_gate(r, f) = rounded<In>(g);
            if (block.kept_up.data != nullptr) block.kept_up(r, f) = rounded<In>(u);
            block.h(r, f) = rounded<In>(weight_of(block.weight, r) * silu(g) * u);
        }
    }
}

template <class In>
void swiglu_backward(const SwigluBackward<In>& block) {
    for (index_t r = 0; r < block.gate.rows; ++r) {
        const double weight = weight_of(block.weight, r);
        double dot = 0.0;
        for (index_t f = 0; f < block.gate.cols; ++f) {
            const double g = wide(block.gate(r, f));
            const double u = wide(block.up(r, f));
            const double dh = wide(block.dh(r, f));
            dot += silu(g) * u * dh;
            block.h(r, f) = rounded<In>(weight * silu(g) * u);
            block.dgate(r, f) = rounded<In>(weight * dh * u * silu_slope(g));
            block.dup(r, f) = rounded<In>(weight * dh * silu(g));
        }
        if (!block.dot.empty()) block.dot[static_cast<std::size_t>(r)] = static_cast<float>(dot);
    }
}

template void swiglu<float>(const Swiglu<float>&);
template void swiglu<bf16>(const Swiglu<bf16>&);
template void swiglu_backward<float>(const SwigluBackward<float>&);
template void swiglu_backward<bf16>(const SwigluBackward<bf16>&);

}  // namespace sy::ops::ref
