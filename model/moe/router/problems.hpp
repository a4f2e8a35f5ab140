#pragma once

#include <string>
#include <vector>

#include "model/config.hpp"

namespace sy::model {

/// Whether the losses that are on unless said otherwise have a use beside a router: not the Switch loss where the choice
/// keeps the load even by itself, and neither where there are no scores.
struct UsefulLosses {
    bool switch_loss = true;
    bool z_loss = true;
};
UsefulLosses useful_losses(const std::string& router);

/// What is wrong with the choice of experts and the losses that steer it, one sentence each with the remedy.
std::vector<std::string> routing_problems(const MoeConfig& moe);

/// The same of a model whose router is expert_choice, base, sinkhorn or reinforce, and of their options in one that has
/// another.
std::vector<std::string> assignment_problems(const ModelConfig& model, const MoeConfig& moe);

}  // namespace sy::model
