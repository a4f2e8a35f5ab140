#include "model/moe/router/selection_bias.hpp"

#include <numeric>

#include "kernels/core/host_values.hpp"
#include "kernels/ops/bias/bias.hpp"

namespace sy::model {

SelectionBias::SelectionBias(const MoeConfig& config)
    : rate_(config.balance.bias_rate),
      values_(rate_ > 0.0 ? static_cast<std::size_t>(config.experts) : 0, 0.0) {}

ConstTensorRef SelectionBias::add_to(ConstTensorRef scores, Tensor& storage, const Context& context) const {
    if (values_.empty()) return scores;
    storage = Tensor(context.device, DType::f32, {scores.rows(), scores.cols()});
    const std::vector<float> bias(values_.begin(), values_.end());
    ops::add_bias(scores, upload(std::span<const float>(bias), context), storage, context);
    return storage;
}

void SelectionBias::finish_step(std::span<const index_t> load) {
    if (values_.empty()) return;
    SY_REQUIRE(load.size() == values_.size(), "selection bias of ", values_.size(), " experts with loads of ",
               load.size());
    const index_t total = std::accumulate(load.begin(), load.end(), index_t{0});
    for (std::size_t e = 0; e < load.size(); ++e) {
        // Against the mean without dividing, so that an exactly even load moves nothing.
        const index_t missing = total - load[e] * static_cast<index_t>(load.size());
        if (missing != 0) values_[e] += missing > 0 ? rate_ : -rate_;
    }
}

}  // namespace sy::model
