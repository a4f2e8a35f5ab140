#pragma once

#include <span>

#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/activation/nonlinearity.hpp"

namespace sy::ops::detail {

/// Row `r` of a matrix; null for a matrix that is not there.
template <class T>
SY_INLINE T* row_or_null(const MatrixView<T>& x, index_t r) {
    return x.data == nullptr ? nullptr : x.data + r * x.stride;
}

SY_INLINE float weight_of(std::span<const float> weight, index_t row) {
    return weight.empty() ? 1.0F : weight[static_cast<std::size_t>(row)];
}

template <class F, bool gated>
struct Formula {
    using Function = F;
    static constexpr bool kGated = gated;
};

/// Calls body with the Formula of `kind`: the one switch over activations, once a block.
template <class Body>
SY_INLINE void with_formula(Activation kind, Body body) {
    switch (kind) {
        case Activation::relu:
            return body(Formula<Relu, false>{});
        case Activation::gelu:
            return body(Formula<Gelu, false>{});
        case Activation::gelu_tanh:
            return body(Formula<GeluTanh, false>{});
        case Activation::silu:
            return body(Formula<Silu, false>{});
        case Activation::squared_relu:
            return body(Formula<SquaredRelu, false>{});
        case Activation::reglu:
            return body(Formula<Relu, true>{});
        case Activation::geglu:
            return body(Formula<Gelu, true>{});
        case Activation::geglu_tanh:
            return body(Formula<GeluTanh, true>{});
        case Activation::swiglu:
            return body(Formula<Silu, true>{});
    }
}

/// Whether a matrix has the sides of `like`, or none where it has to be absent.
enum class Presence { absent, present };
template <class T, class Like>
bool fits(const MatrixView<T>& x, const MatrixView<Like>& like, Presence presence = Presence::present) {
    if (presence == Presence::absent) return x.data == nullptr;
    return x.rows == like.rows && x.cols == like.cols && (x.data != nullptr || x.rows * x.cols == 0);
}
inline Presence present_if(bool condition) {
    return condition ? Presence::present : Presence::absent;
}
template <class T>
bool fits_or_empty(std::span<T> values, index_t count) {
    return values.empty() || static_cast<index_t>(values.size()) == count;
}

}  // namespace sy::ops::detail
