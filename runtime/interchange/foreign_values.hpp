#pragma once

#include <span>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/interchange/foreign_model.hpp"

namespace sy::runtime {

/// Numbers of each router of a checkpoint, by its name, for layout_problems.
std::map<std::string, index_t> router_state_sizes(const TrainingState& state);

/// The values of a foreign tensor, from a checkpoint. Holds one of our matrices beside them.
/// @param values  as many as tensor.shape has elements, row-major
/// @pre           the tensor's model has no layout_problems() with this checkpoint
/// @throws IoError naming a missing or altered part, or one with a value that is not finite
void read_foreign(const ForeignTensor& tensor, const CheckpointReader& reader, std::span<float> values);

}  // namespace sy::runtime
