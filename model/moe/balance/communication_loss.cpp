#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

/// The sums are the shares of each group, then how many tokens are sent to each group.
class CommunicationLoss : public RouterLoss {
  public:
    explicit CommunicationLoss(const MoeConfig& config)
        : RouterLoss({"communication_loss", config.balance.communication_loss, 2 * config.groups, true}),
          groups_(config.groups),
          size_(config.experts / config.groups),
          limit_(config.group_limit) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        routed.add_shares(sums.rows_of({0, groups_}));
        ops::count_reached(routed.routing.sent(), size_, sums.rows_of({groups_, sums.rows()}),
                           routed.context);
    }

    double value(const LossTotals& totals) const override {
        double sum = 0.0;
        for (std::size_t g = 0; g < static_cast<std::size_t>(groups_); ++g)
            sum += share(totals, g) * totals.sums[g].value() / static_cast<double>(totals.global_tokens);
        return sum;
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const std::size_t experts = totals.load.size();
        gradients.share.resize(experts, 0.0F);
        for (std::size_t e = 0; e < experts; ++e) {
            gradients.share[e] += static_cast<float>(scale / routed.global_tokens() *
                                                     share(totals, e / static_cast<std::size_t>(size_)));
        }
    }

  private:
    /// f of one group.
    double share(const LossTotals& totals, std::size_t group) const {
        return static_cast<double>(groups_) * totals.sums[static_cast<std::size_t>(groups_) + group].value() /
               static_cast<double>(limit_ * totals.global_tokens);
    }

    index_t groups_;
    index_t size_;
    index_t limit_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_communication_loss(const MoeConfig& config) {
    return std::make_unique<CommunicationLoss>(config);
}

}  // namespace sy::model
