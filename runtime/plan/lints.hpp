#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.hpp"

namespace sy::runtime {

/// Where a config leaves what most published models do: advice, one sentence each with the options, what is usual and
/// why. Contradictions are not here: they are problems of the config, which is then refused.
/// @par Source  the models of model/families, and the papers that each sentence names
std::vector<std::string> lints(const Config& config);

}  // namespace sy::runtime
