#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

class SwitchLoss : public RouterLoss {
  public:
    explicit SwitchLoss(const MoeConfig& config)
        : RouterLoss({"switch_loss", config.balance.switch_loss, config.experts}),
          factor_(static_cast<double>(config.experts) / static_cast<double>(config.top_k)) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override { routed.add_shares(sums); }

    double value(const LossTotals& totals) const override {
        double sum = 0.0;
        const double tokens = totals.num_tokens();
        for (index_t e = 0; e < totals.load.size(); ++e)
            sum += static_cast<double>(totals.load[e]) / tokens * (totals.sums[e].value() / tokens);
        return factor_ * sum;
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const double tokens = routed.global_tokens();
        add_to_shares(gradients, totals.load.size(), [&](index_t e) {
            return scale * factor_ / tokens * static_cast<double>(totals.load[e]) / tokens;
        });
    }

  private:
    double factor_;  ///< E / K
};

}  // namespace

std::unique_ptr<RouterLoss> make_switch_loss(const MoeConfig& config) {
    return std::make_unique<SwitchLoss>(config);
}

}  // namespace sy::model
