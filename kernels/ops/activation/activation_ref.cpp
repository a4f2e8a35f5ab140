#include <cmath>
#include <numbers>

#include "kernels/core/error.hpp"
#include "kernels/ops/activation/activation.hpp"

namespace sy::ops::ref {
namespace {

double logistic(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

/// Normal distribution function and density.
double normal_below(double x) {
    return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}
double normal_density(double x) {
    return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
}

double tanh_argument(double x) {
    return std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}

double at(std::span<const float> values, index_t i, double otherwise) {
    return values.empty() ? otherwise : static_cast<double>(values[static_cast<std::size_t>(i)]);
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

double nonlinearity(Activation kind, double x) {
    switch (kind) {
        case Activation::relu:
        case Activation::reglu:
            return std::fmax(x, 0.0);
        case Activation::squared_relu:
            return std::fmax(x, 0.0) * std::fmax(x, 0.0);
        case Activation::gelu:
        case Activation::geglu:
            return x * normal_below(x);
        case Activation::gelu_tanh:
        case Activation::geglu_tanh:
            return 0.5 * x * (1.0 + std::tanh(tanh_argument(x)));
        case Activation::silu:
        case Activation::swiglu:
            return x * logistic(x);
    }
    throw LogicError("nonlinearity: unknown activation");
}

double nonlinearity_slope(Activation kind, double x) {
    switch (kind) {
        case Activation::relu:
        case Activation::reglu:
            return x > 0.0 ? 1.0 : 0.0;
        case Activation::squared_relu:
            return 2.0 * std::fmax(x, 0.0);
        case Activation::gelu:
        case Activation::geglu:
            return normal_below(x) + x * normal_density(x);
        case Activation::gelu_tanh:
        case Activation::geglu_tanh: {
            const double t = std::tanh(tanh_argument(x));
            const double inner_slope = std::sqrt(2.0 / std::numbers::pi) * (1.0 + 3.0 * 0.044715 * x * x);
            return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope;
        }
        case Activation::silu:
        case Activation::swiglu:
            return logistic(x) * (1.0 + x * (1.0 - logistic(x)));
    }
    throw LogicError("nonlinearity_slope: unknown activation");
}

template <class In>
void activate(const Activate<In>& block) {
    for (index_t r = 0; r < block.up.rows; ++r) {
        const double weight = at(block.weight, r, 1.0);
        for (index_t f = 0; f < block.up.cols; ++f) {
            const double u = wide(block.up(r, f)) + at(block.up_bias, f, 0.0);
            double h = nonlinearity(block.kind, u);
            if (is_gated(block.kind)) {
                const double g = wide(block.gate(r, f)) + at(block.gate_bias, f, 0.0);
                h = nonlinearity(block.kind, g) * u;
                if (block.kept_gate.data != nullptr) block.kept_gate(r, f) = rounded<In>(g);
            }
            if (block.kept_up.data != nullptr) block.kept_up(r, f) = rounded<In>(u);
            block.h(r, f) = rounded<In>(weight * h);
        }
    }
}

template <class In>
void activate_backward(const ActivateBackward<In>& block) {
    for (index_t r = 0; r < block.up.rows; ++r) {
        const double weight = at(block.weight, r, 1.0);
        double dot = 0.0;
        for (index_t f = 0; f < block.up.cols; ++f) {
            const double u = wide(block.up(r, f));
            const double dh = wide(block.dh(r, f));
            double h = nonlinearity(block.kind, u);
            double du = nonlinearity_slope(block.kind, u);
            if (is_gated(block.kind)) {
                const double g = wide(block.gate(r, f));
                du = nonlinearity(block.kind, g);
                h = du * u;
                block.dgate(r, f) = rounded<In>(weight * dh * u * nonlinearity_slope(block.kind, g));
            }
            dot += h * dh;
            block.h(r, f) = rounded<In>(weight * h);
            block.dup(r, f) = rounded<In>(weight * dh * du);
        }
        if (!block.dot.empty()) block.dot[static_cast<std::size_t>(r)] = static_cast<float>(dot);
    }
}

template void activate<float>(const Activate<float>&);
template void activate<bf16>(const Activate<bf16>&);
template void activate_backward<float>(const ActivateBackward<float>&);
template void activate_backward<bf16>(const ActivateBackward<bf16>&);

}  // namespace sy::ops::ref
