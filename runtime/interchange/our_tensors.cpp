#include "runtime/interchange/our_tensors.hpp"

#include "model/parameters/blueprint.hpp"

namespace sy::runtime {

OurTensors our_tensors(const Config& config) {
    OurTensors ours;
    for (const model::ParameterSpec& spec : model::blueprint(config.model, config.moe)) {
        ours.shapes[spec.name] = spec.shape;
        if (spec.key.role != model::Role::router || config.moe.balance.bias_rate == 0.0) continue;
        // The state is called as the mixture that the router, NAME.router, belongs to.
        ours.router_state[spec.name.substr(0, spec.name.rfind('.'))] = config.moe.experts;
    }
    return ours;
}

}  // namespace sy::runtime
