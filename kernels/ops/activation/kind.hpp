#pragma once

#include <array>
#include <string_view>

namespace sy::ops {

/// The non-linearity of a feed-forward, h of its projections. Not gated: h = f(up) with f one of
///   relu          max(x, 0)
///   gelu          x Phi(x), Phi the normal distribution function by erf (arXiv:1606.08415)
///   gelu_tanh     its approximation x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (the same paper)
///   silu          x / (1 + e^-x)
///   squared_relu  max(x, 0)^2 (Primer, arXiv:2109.08668)
/// Gated: h = f(gate) * up with f of the same name: reglu relu, geglu gelu, geglu_tanh gelu_tanh, swiglu silu (Shazeer,
/// arXiv:2002.05202).
enum class Activation { relu, gelu, gelu_tanh, silu, squared_relu, reglu, geglu, geglu_tanh, swiglu };

inline constexpr std::array kActivations{Activation::relu,  Activation::gelu,         Activation::gelu_tanh,
                                         Activation::silu,  Activation::squared_relu, Activation::reglu,
                                         Activation::geglu, Activation::geglu_tanh,   Activation::swiglu};

/// Whether the feed-forward has a gate projection beside "up".
constexpr bool is_gated(Activation activation) {
    return activation >= Activation::reglu;
}

/// "relu", "gelu_tanh", ...
std::string_view activation_name(Activation activation);

/// Inverse of activation_name. @throws ConfigError naming the known ones
Activation parse_activation(std::string_view name);

/// Arithmetic a value of h, exponentials and the like counting one; backward takes about twice as much.
double activation_flops(Activation activation);

}  // namespace sy::ops
