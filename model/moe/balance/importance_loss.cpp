#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/squared_variation.hpp"

namespace sy::model {
namespace {

class ImportanceLoss : public RouterLoss {
  public:
    explicit ImportanceLoss(const MoeConfig& config)
        : RouterLoss({"importance_loss", config.balance.importance_loss, config.experts, true}) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        ops::choice_sums(routed.choices(), routed.routing.weight, sums, routed.context);
    }

    double value(const LossTotals& totals) const override { return squared_variation(totals.sums); }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const std::vector<float> factor = squared_variation_gradient(totals.sums, scale);
        ops::add_to_choices(routed.choices(), factor,
                            opened(gradients.weight, routed.routing.weight.shape(), routed.context),
                            routed.context);
    }
};

}  // namespace

std::unique_ptr<RouterLoss> make_importance_loss(const MoeConfig& config) {
    return std::make_unique<ImportanceLoss>(config);
}

}  // namespace sy::model
