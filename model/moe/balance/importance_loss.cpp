#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/squared_variation.hpp"

namespace sy::model {
namespace {

class ImportanceLoss : public RouterLoss {
  public:
    explicit ImportanceLoss(const MoeConfig& config)
        : coefficient_(config.balance.importance_loss), experts_(config.experts) {}

    std::string name() const override { return "importance_loss"; }
    double coefficient() const override { return coefficient_; }
    index_t num_sums() const override { return experts_; }
    bool gradient_needs_sums() const override { return true; }

    void add_sums(const RoutedBatch& routed, std::span<ExactSum> sums) const override {
        const std::span<const std::int32_t> expert = routed.routing.expert.values<std::int32_t>();
        const std::span<const float> weight = routed.routing.weight.values<float>();
        for (std::size_t i = 0; i < expert.size(); ++i) {
            if (expert[i] != kNoExpert)
                sums[static_cast<std::size_t>(expert[i])].add(static_cast<double>(weight[i]));
        }
    }

    double value(const LossTotals& totals) const override { return squared_variation(totals.sums); }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const std::vector<double> slope = squared_variation_gradient(totals.sums);
        if (gradients.weight.empty()) {
            gradients.weight = Tensor(routed.context.arena, DType::f32, routed.routing.weight.shape());
            gradients.weight.fill_zero();
        }
        const std::span<const std::int32_t> expert = routed.routing.expert.values<std::int32_t>();
        const std::span<float> dweight = gradients.weight.values<float>();
        for (std::size_t i = 0; i < expert.size(); ++i) {
            if (expert[i] != kNoExpert)
                dweight[i] += static_cast<float>(scale * slope[static_cast<std::size_t>(expert[i])]);
        }
    }

  private:
    double coefficient_;
    index_t experts_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_importance_loss(const MoeConfig& config) {
    return std::make_unique<ImportanceLoss>(config);
}

}  // namespace sy::model
