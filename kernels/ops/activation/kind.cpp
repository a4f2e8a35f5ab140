#include "kernels/ops/activation/kind.hpp"

#include <string>

#include "kernels/core/error.hpp"

namespace sy::ops {
namespace {

struct Entry {
    Activation activation;
    std::string_view name;
    double flops;
};

constexpr std::array kEntries{
    Entry{Activation::relu, "relu", 2.0},
    Entry{Activation::gelu, "gelu", 6.0},
    Entry{Activation::gelu_tanh, "gelu_tanh", 10.0},
    Entry{Activation::silu, "silu", 6.0},
    Entry{Activation::squared_relu, "squared_relu", 3.0},
    Entry{Activation::reglu, "reglu", 3.0},
    Entry{Activation::geglu, "geglu", 7.0},
    Entry{Activation::geglu_tanh, "geglu_tanh", 11.0},
    Entry{Activation::swiglu, "swiglu", 7.0},
};
static_assert(kEntries.size() == kActivations.size());

const Entry& entry_of(Activation activation) {
    for (const Entry& entry : kEntries) {
        if (entry.activation == activation) return entry;
    }
    throw LogicError(concat("activation: unknown value ", static_cast<int>(activation)));
}

}  // namespace

std::string_view activation_name(Activation activation) {
    return entry_of(activation).name;
}

Activation parse_activation(std::string_view name) {
    std::string known;
    for (const Entry& entry : kEntries) {
        if (entry.name == name) return entry.activation;
        known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw ConfigError(concat("activation: '", name, "' is not one of ", known));
}

double activation_flops(Activation activation) {
    return entry_of(activation).flops;
}

}  // namespace sy::ops
