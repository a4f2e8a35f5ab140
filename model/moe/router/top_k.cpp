#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/selection_bias.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

class TopK : public RoutingStrategy {
  public:
    explicit TopK(const MoeConfig& config)
        : top_k_(config.top_k),
          rule_{.score = config.score, .renormalise = config.renormalise, .scale = config.routed_scale},
          bias_(config) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor storage;
        Tensor expert(context.device, DType::i32, {in.scores.rows(), top_k_});
        ops::gate_top_k(bias_.add_to(in.scores, storage, context), expert, context);
        return expert;
    }
    WeightRule weights() const override { return rule_; }
    std::span<double> state() override { return bias_.values(); }
    void finish_step(std::span<const index_t> load) override { bias_.finish_step(load); }

  private:
    index_t top_k_;
    WeightRule rule_;
    SelectionBias bias_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_top_k(const MoeConfig& config) {
    return std::make_unique<TopK>(config);
}

}  // namespace sy::model
