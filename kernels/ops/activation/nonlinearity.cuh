#pragma once

#include <cuda_runtime.h>

#include <numbers>

#include "kernels/core/error.hpp"
#include "kernels/ops/activation/kind.hpp"

/// The functions of kind.hpp in kernels of a GPU: value(x) for forward, both(x) for backward; NaN passes.
namespace sy::ops::on_gpu {

inline __device__ float sigmoid(float x) {
    return 1.0F / (1.0F + expf(-x));
}

/// f of a number, and its slope.
struct Both {
    float value;
    float slope;
};

struct Relu {
    static __device__ float value(float x) { return 0.0F > x ? 0.0F : x; }
    static __device__ Both both(float x) { return {value(x), x > 0.0F ? 1.0F : 0.0F}; }
};

struct SquaredRelu {
    static __device__ float value(float x) {
        const float positive = Relu::value(x);
        return positive * positive;
    }
    static __device__ Both both(float x) {
        const float positive = Relu::value(x);
        return {positive * positive, positive + positive};
    }
};

struct Silu {
    static __device__ float value(float x) { return x * sigmoid(x); }
    static __device__ Both both(float x) {
        const float s = sigmoid(x);
        return {x * s, s * (1.0F + x * (1.0F - s))};
    }
};

struct Gelu {
    static __device__ float below(float x) {
        return 0.5F * (1.0F + erff(x * static_cast<float>(1.0 / std::numbers::sqrt2)));
    }
    static __device__ float value(float x) { return x * below(x); }
    static __device__ Both both(float x) {
        constexpr double kDensityAt0 = 0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2;
        const float phi = below(x);
        const float density = static_cast<float>(kDensityAt0) * expf(-0.5F * (x * x));
        return {x * phi, phi + x * density};
    }
};

struct GeluTanh {
    static constexpr double kScale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
    /// The square of x as far as it matters: beyond, tanh is 1 to the last bit, and infinities would meet zeros.
    static __device__ float square(float x) {
        const float above = -32.0F > x ? -32.0F : x;
        const float near = 32.0F < above ? 32.0F : above;
        return near * near;
    }
    static __device__ float inner(float x, float squared) {
        return static_cast<float>(kScale) * (x + x * (0.044715F * squared));
    }
    static __device__ float value(float x) { return 0.5F * x * (1.0F + tanhf(inner(x, square(x)))); }
    static __device__ Both both(float x) {
        const float squared = square(x);
        const float t = tanhf(inner(x, squared));
        const float half = 0.5F * (1.0F + t);
        const float inner_slope = static_cast<float>(kScale) * (1.0F + (3.0F * 0.044715F) * squared);
        return {x * half, half + 0.5F * x * ((1.0F - t * t) * inner_slope)};
    }
};

/// Calls body.operator()<F>() with the function of an activation, gated or not.
template <class Body>
void with_function(Activation kind, const Body& body) {
    switch (kind) {
        case Activation::relu:
        case Activation::reglu:
            return body.template operator()<Relu>();
        case Activation::gelu:
        case Activation::geglu:
            return body.template operator()<Gelu>();
        case Activation::gelu_tanh:
        case Activation::geglu_tanh:
            return body.template operator()<GeluTanh>();
        case Activation::silu:
        case Activation::swiglu:
            return body.template operator()<Silu>();
        case Activation::squared_relu:
            return body.template operator()<SquaredRelu>();
    }
    throw LogicError(concat("activation: unknown value ", static_cast<int>(kind)));
}

}  // namespace sy::ops::on_gpu
