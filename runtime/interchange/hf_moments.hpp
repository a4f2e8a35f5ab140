#pragma once

#include "runtime/interchange/foreign_model.hpp"

namespace sy::runtime {

/// AdamW's moments under the names of another program's weights, as torch calls them: NAME.exp_avg and NAME.exp_avg_sq,
/// float32. What the weights are multiplied with there divides the first moment, and its square the second, as gradients
/// change; places without a weight of ours are 0, and tensors without any have no moments.
ForeignModel moments_of(const ForeignModel& weights);

}  // namespace sy::runtime
