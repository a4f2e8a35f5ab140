#pragma once

#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"

namespace sy::model {

/// One number an expert that is added to its scores where experts are chosen, never where they are weighed. After each
/// step an expert with less than the mean load gains balance.bias_rate, one with more loses it. Absent at rate 0.
/// @par Source  DeepSeek-V3, arXiv:2412.19437, 2.1.2; Wang et al., arXiv:2408.15664, algorithm 1
class SelectionBias {
  public:
    explicit SelectionBias(const MoeConfig& config);

    /// scores + bias, in `storage`; the scores themselves when there is no bias. @param scores  [T, E] f32
    ConstTensorRef add_to(ConstTensorRef scores, Tensor& storage, const Context& context) const;
    /// @param load  [E] choices of the step over all ranks
    void finish_step(std::span<const index_t> load);
    std::span<double> values() { return values_; }

  private:
    double rate_;
    std::vector<double> values_;  ///< [E], or empty
};

}  // namespace sy::model
