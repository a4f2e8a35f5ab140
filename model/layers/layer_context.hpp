#pragma once

#include <functional>
#include <initializer_list>

#include "model/config.hpp"
#include "model/parameters/parameters.hpp"

namespace sy::model {

/// What layers share: borrowed from the transformer, which outlives them.
struct LayerContext {
    const ModelConfig& config;
    Parameters& parameters;
    /// Called in backward when the gradients of a parameter are complete for this pass.
    std::function<void(ParameterId)> gradient_ready;

    /// Calls it for each of a layer's parameters, leaving out those that the model does not have (-1).
    void gradients_ready(std::initializer_list<ParameterId> ids) const {
        for (const ParameterId id : ids)
            if (id >= 0) gradient_ready(id);
    }
};

/// The embedding [V, H], which all stacks read.
inline ParameterId embedding_table(const Parameters& parameters) {
    return parameters.id({{StackId::main, -1, Part::embedding}, Role::table});
}

}  // namespace sy::model
