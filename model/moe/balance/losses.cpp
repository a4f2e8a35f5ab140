#include <array>

#include "kernels/ops/copy/copy.hpp"
#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

struct Entry {
    double BalanceConfig::*coefficient;
    std::unique_ptr<RouterLoss> (*make)(const MoeConfig&);
};

constexpr std::array kLosses{Entry{&BalanceConfig::switch_loss, make_switch_loss},
                             Entry{&BalanceConfig::z_loss, make_z_loss},
                             Entry{&BalanceConfig::importance_loss, make_importance_loss},
                             Entry{&BalanceConfig::load_loss, make_load_loss},
                             Entry{&BalanceConfig::device_loss, make_device_loss},
                             Entry{&BalanceConfig::communication_loss, make_communication_loss},
                             Entry{&BalanceConfig::sequence_loss, make_sequence_loss}};

/// Calls body(loss, totals with the sums of this loss alone) for each loss.
template <class Body>
void for_each_loss(std::span<const std::unique_ptr<RouterLoss>> losses, const LossTotals& all,
                   const Body& body) {
    index_t first = 0;
    for (const auto& loss : losses) {
        const Range own{first, first + loss->num_sums()};
        body(*loss, {all.load, all.sums.empty() ? all.sums : all.sums.part(own), all.global_tokens});
        first = own.end;
    }
}

}  // namespace

std::vector<std::unique_ptr<RouterLoss>> make_router_losses(const MoeConfig& config) {
    std::vector<std::unique_ptr<RouterLoss>> losses;
    for (const Entry& entry : kLosses) {
        if (config.balance.*entry.coefficient != 0.0) losses.push_back(entry.make(config));
    }
    return losses;
}

Tensor loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses, const RoutedBatch& routed) {
    index_t count = 0;
    for (const auto& loss : losses) count += loss->num_sums();
    Tensor sums(routed.context.device, DType::i64, {count, index_t{ExactSum::kNumWords}});
    ops::clear(sums, routed.context);
    index_t first = 0;
    for (const auto& loss : losses) {
        const Range own{first, first + loss->num_sums()};
        loss->add_sums(routed, sums.ref().rows_of(own));
        first = own.end;
    }
    return sums;
}

std::vector<NamedLoss> loss_values(std::span<const std::unique_ptr<RouterLoss>> losses,
                                   const LossTotals& totals) {
    std::vector<NamedLoss> values;
    for_each_loss(losses, totals, [&](const RouterLoss& loss, const LossTotals& own) {
        values.push_back({loss.name(), loss.coefficient(), loss.value(own)});
    });
    return values;
}

void add_loss_gradients(std::span<const std::unique_ptr<RouterLoss>> losses, const RoutedBatch& routed,
                        const LossTotals& totals, double share, RouterGradients& gradients) {
    for_each_loss(losses, totals, [&](const RouterLoss& loss, const LossTotals& own) {
        loss.add_gradient(routed, own, loss.coefficient() * share, gradients);
    });
}

}  // namespace sy::model
