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

/// Whether something has a bias.
enum class Bias { none, added };

}  // namespace sy::model
