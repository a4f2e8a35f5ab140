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

}  // namespace

std::vector<std::unique_ptr<RouterLoss>> make_router_losses(const MoeConfig& config) {
    std::vector<std::unique_ptr<RouterLoss>> losses;
    for (const Entry& entry : kLosses) {
        if (config.balance.*entry.coefficient != 0.0) losses.push_back(entry.make(config));
    }
    return losses;
}

index_t num_loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses) {
    index_t count = 0;
    for (const auto& loss : losses) count += loss->num_sums();
    return count;
}

void loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses, const RoutedBatch& routed,
               TensorRef sums) {
    ops::clear(sums, routed.context);
    index_t first = 0;
    for (const auto& loss : losses) {
        const Range own{first, first + loss->num_sums()};
        loss->add_sums(routed, sums.rows_of(own));
        first = own.end;
    }
}

}  // namespace sy::model
