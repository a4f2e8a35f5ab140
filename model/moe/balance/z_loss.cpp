#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

class ZLoss : public RouterLoss {
  public:
    explicit ZLoss(const MoeConfig& config) : RouterLoss({"z_loss", config.balance.z_loss, 1}) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        ops::square_sum(routed.routing.lse, sums, routed.context);
    }

    double value(const LossTotals& totals) const override {
        return totals.sums[0].value() / totals.num_tokens();
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals&, double scale,
                      RouterGradients& gradients) const override {
        const Tensor& lse = routed.routing.lse;
        ops::add_scaled(2.0 * scale / routed.global_tokens(), lse,
                        opened(gradients.lse, lse.shape(), routed.context), routed.context);
    }
};

}  // namespace

std::unique_ptr<RouterLoss> make_z_loss(const MoeConfig& config) {
    return std::make_unique<ZLoss>(config);
}

}  // namespace sy::model
