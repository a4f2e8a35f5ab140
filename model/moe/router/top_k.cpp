#include <optional>

#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/selection_bias.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

class TopK : public RoutingStrategy {
  public:
    /// @param limit  of the groups whose experts may be chosen; none: all may
    TopK(const MoeConfig& config, const std::optional<ops::GroupLimit>& limit)
        : RoutingStrategy(
              {.score = config.score, .renormalise = config.renormalise, .scale = config.routed_scale}),
          top_k_(config.top_k),
          limit_(limit),
          bias_(config) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor biased;
        ConstTensorRef scores = bias_.add_to(in.scores, biased, context);
        Tensor open;
        if (limit_) {
            open = Tensor(context.device, DType::f32, {scores.rows(), scores.cols()});
            ops::gate_limit_groups(scores, *limit_, open, context);
            scores = open;
        }
        return highest_scores(scores, top_k_, context);
    }
    std::span<double> state() override { return bias_.values(); }
    void finish_step(std::span<const index_t> load) override { bias_.finish_step(load); }

  private:
    index_t top_k_;
    std::optional<ops::GroupLimit> limit_;
    SelectionBias bias_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_top_k(const MoeConfig& config) {
    return std::make_unique<TopK>(config, std::nullopt);
}

std::unique_ptr<RoutingStrategy> make_group_limited(const MoeConfig& config) {
    const bool sums = config.group_score == GroupScore::top_sum;
    const index_t counted = sums ? config.top_k / config.group_limit : 1;
    return std::make_unique<TopK>(
        config, ops::GroupLimit{.groups = config.groups, .limit = config.group_limit, .counted = counted});
}

}  // namespace sy::model
