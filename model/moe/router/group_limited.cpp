#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/selection_bias.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

class GroupLimited : public RoutingStrategy {
  public:
    explicit GroupLimited(const MoeConfig& config)
        : top_k_(config.top_k),
          limit_{
              .groups = config.groups,
              .limit = config.group_limit,
              .counted = config.group_score == GroupScore::top_sum ? config.top_k / config.group_limit : 1},
          rule_{.score = config.score, .renormalise = config.renormalise, .scale = config.routed_scale},
          bias_(config) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor storage;
        const ConstTensorRef biased = bias_.add_to(in.scores, storage, context);
        Tensor open(context.device, DType::f32, {biased.rows(), biased.cols()});
        ops::gate_limit_groups(biased, limit_, open, context);
        Tensor expert(context.device, DType::i32, {biased.rows(), top_k_});
        ops::gate_top_k(open, expert, context);
        return expert;
    }
    WeightRule weights() const override { return rule_; }
    std::span<double> state() override { return bias_.values(); }
    void finish_step(std::span<const index_t> load) override { bias_.finish_step(load); }

  private:
    index_t top_k_;
    ops::GroupLimit limit_;
    WeightRule rule_;
    SelectionBias bias_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_group_limited(const MoeConfig& config) {
    return std::make_unique<GroupLimited>(config);
}

}  // namespace sy::model
