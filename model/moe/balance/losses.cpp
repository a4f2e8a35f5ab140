#include <array>

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

std::vector<ExactSum> loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses,
                                const RoutedBatch& routed) {
    std::vector<ExactSum> sums;
    for (const auto& loss : losses) {
        const std::size_t first = sums.size();
        sums.resize(first + static_cast<std::size_t>(loss->num_sums()));
        loss->add_sums(routed, std::span(sums).subspan(first));
    }
    return sums;
}

}  // namespace sy::model
