#pragma once

#include <functional>

#include "model/config.hpp"
#include "model/parameters/parameters.hpp"

namespace sy::model {

/// What layers share: borrowed from the transformer, which outlives them.
struct LayerContext {
    const ModelConfig& config;
    Parameters& parameters;
    /// Called in backward when the gradients of a parameter are complete for this pass.
    std::function<void(ParameterId)> gradient_ready;
};

/// The embedding [V, H], which all stacks read.
inline ParameterId embedding_table(const Parameters& parameters) {
    return parameters.id({{StackId::main, -1, Part::embedding}, Role::table});
}

}  // namespace sy::model
