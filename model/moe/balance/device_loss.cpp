#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

class DeviceLoss : public RouterLoss {
  public:
    explicit DeviceLoss(const MoeConfig& config)
        : RouterLoss({"device_loss", config.balance.device_loss, config.groups}),
          groups_(config.groups),
          size_(config.experts / config.groups),
          top_k_(config.top_k) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override { routed.add_shares(sums); }

    double value(const LossTotals& totals) const override {
        const std::vector<double> share = shares(totals);
        double sum = 0.0;
        for (std::size_t g = 0; g < share.size(); ++g)
            sum += share[g] * totals.sums[g].value() / static_cast<double>(totals.global_tokens);
        return sum;
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const std::vector<double> share = shares(totals);
        gradients.share.resize(totals.load.size(), 0.0F);
        for (std::size_t e = 0; e < totals.load.size(); ++e) {
            gradients.share[e] += static_cast<float>(scale / routed.global_tokens() *
                                                     share[e / static_cast<std::size_t>(size_)]);
        }
    }

  private:
    /// f of every group.
    std::vector<double> shares(const LossTotals& totals) const {
        std::vector<double> result(static_cast<std::size_t>(groups_), 0.0);
        const double unit = static_cast<double>(groups_) / static_cast<double>(top_k_ * totals.global_tokens);
        for (std::size_t e = 0; e < totals.load.size(); ++e)
            result[e / static_cast<std::size_t>(size_)] += unit * static_cast<double>(totals.load[e]);
        return result;
    }

    index_t groups_;
    index_t size_;
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_device_loss(const MoeConfig& config) {
    return std::make_unique<DeviceLoss>(config);
}

}  // namespace sy::model
