#pragma once

#include <map>
#include <string>

#include "kernels/core/tensor.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// What a checkpoint of a model holds.
struct OurTensors {
    std::map<std::string, Shape> shapes;          ///< of parameters, by name
    std::map<std::string, index_t> router_state;  ///< numbers of each router, by its name
};

/// From the settings alone. @pre  no model_problems(); the router is top_k or group_limited
OurTensors our_tensors(const Config& config);

}  // namespace sy::runtime
