#pragma once

#include <string>
#include <vector>

#include "model/config.hpp"

namespace sy::model {

/// What is wrong with the choice of experts and the losses that steer it, one sentence each with the remedy.
std::vector<std::string> routing_problems(const MoeConfig& moe);

}  // namespace sy::model
