#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

/// sum_d f_d P_d over the groups of experts. f_d says how often a group is chosen and is constant in backward.
class GroupLoss : public RouterLoss {
  public:
    GroupLoss(const Traits& traits, const MoeConfig& config)
        : RouterLoss(traits), groups_(config.groups), size_(config.experts / config.groups) {}

    double value(const LossTotals& totals) const override {
        const std::vector<double> frequency = frequencies(totals);
        double sum = 0.0;
        for (index_t g = 0; g < groups_; ++g)
            sum += frequency[static_cast<std::size_t>(g)] * totals.sums[g].value() / totals.num_tokens();
        return sum;
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        const std::vector<double> frequency = frequencies(totals);
        add_to_shares(gradients, totals.load.size(), [&](index_t expert) {
            return scale / routed.global_tokens() * frequency[static_cast<std::size_t>(group_of(expert))];
        });
    }

  protected:
    /// [D] f of every group.
    virtual std::vector<double> frequencies(const LossTotals& totals) const = 0;
    index_t num_groups() const { return groups_; }
    index_t group_size() const { return size_; }
    index_t group_of(index_t expert) const { return expert / size_; }

  private:
    index_t groups_;
    index_t size_;
};

class DeviceLoss : public GroupLoss {
  public:
    explicit DeviceLoss(const MoeConfig& config)
        : GroupLoss({"device_loss", config.balance.device_loss, config.groups}, config),
          top_k_(config.top_k) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override { routed.add_shares(sums); }

  private:
    std::vector<double> frequencies(const LossTotals& totals) const override {
        std::vector<double> result(static_cast<std::size_t>(num_groups()), 0.0);
        const double unit =
            static_cast<double>(num_groups()) / static_cast<double>(top_k_ * totals.global_tokens);
        for (index_t e = 0; e < totals.load.size(); ++e)
            result[static_cast<std::size_t>(group_of(e))] += unit * static_cast<double>(totals.load[e]);
        return result;
    }

    index_t top_k_;
};

/// The sums are the shares of each group, then how many tokens are sent to each group.
class CommunicationLoss : public GroupLoss {
  public:
    explicit CommunicationLoss(const MoeConfig& config)
        : GroupLoss({"communication_loss", config.balance.communication_loss, 2 * config.groups, true},
                    config),
          limit_(config.group_limit) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        routed.add_shares(sums.rows_of({0, num_groups()}));
        ops::count_reached(routed.routing.sent(), group_size(), sums.rows_of({num_groups(), sums.rows()}),
                           routed.context);
    }

  private:
    std::vector<double> frequencies(const LossTotals& totals) const override {
        std::vector<double> result;
        for (index_t g = 0; g < num_groups(); ++g) {
            result.push_back(static_cast<double>(num_groups()) * totals.sums[num_groups() + g].value() /
                             static_cast<double>(limit_ * totals.global_tokens));
        }
        return result;
    }

    index_t limit_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_device_loss(const MoeConfig& config) {
    return std::make_unique<DeviceLoss>(config);
}

std::unique_ptr<RouterLoss> make_communication_loss(const MoeConfig& config) {
    return std::make_unique<CommunicationLoss>(config);
}

}  // namespace sy::model
