#pragma once

#include <deque>
#include <map>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// Choices of every expert of every mixture: [layers][experts].
using Loads = std::vector<std::vector<double>>;

/// The loads of a span of steps, added up.
struct LoadSpan {
    index_t first_step = 0;
    index_t last_step = 0;
    Loads loads;
};

/// How the loads of experts went over a run, in bounded memory: spans of steps that become longer as the run goes on.
class LoadHistory {
  public:
    /// The loads of one step. A step at or before an earlier one takes the place of all from there on: spans that hold any
    /// of those are forgotten. Steps whose layers or experts differ from the first step's are passed over.
    void add(index_t step, const std::vector<index_t>& layers, const Loads& loads);

    /// Numbers of the mixtures; empty for a dense model.
    const std::vector<index_t>& layers() const { return layers_; }
    /// In order of steps.
    std::vector<LoadSpan> spans() const;
    /// The last steps, at most 100. @pre layers() is not empty
    LoadSpan last_steps() const;

  private:
    void forget_from(index_t step);

    std::vector<index_t> layers_;
    Loads shape_;  ///< of the first step
    std::size_t most_spans_ = 0;
    index_t span_steps_ = 1;
    std::map<index_t, LoadSpan> spans_;  ///< by step / span_steps_
    std::deque<LoadSpan> last_;
};

/// Loads over their mean; 1 everywhere is balance. All 0 where there were no choices.
std::vector<double> over_mean(const std::vector<double>& loads);

/// Entropy of the shares that experts have of the choices, over that of equal shares: 1 is balance, 0 is one expert for all.
/// NaN without choices, 1 for a single expert.
double load_entropy(const std::vector<double>& loads);

}  // namespace sy::runtime
