#pragma once

#include "runtime/config/option.hpp"

/// Parts of the option table, by file.
namespace sy::runtime {

/// Widths that a machine could hold, and steps that a run could take.
inline constexpr index_t kMostWidth = 10'000'000;
inline constexpr index_t kMostSteps = 1'000'000'000'000;

/// What a model is: sections model, attention, position, moe and balance.
void add_model_sections(OptionTable& table, model::ModelConfig& model, model::MoeConfig& moe);

}  // namespace sy::runtime
