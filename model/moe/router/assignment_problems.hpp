#pragma once

#include <string>
#include <vector>

#include "model/config.hpp"

namespace sy::model {

/// What is wrong with a model whose router is expert_choice, base, sinkhorn or reinforce, or with their options in one
/// that has another: one sentence each with the remedy.
std::vector<std::string> assignment_problems(const ModelConfig& model, const MoeConfig& moe);

}  // namespace sy::model
