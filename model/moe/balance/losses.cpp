#include <array>

#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

struct Entry {
    double BalanceConfig::*coefficient;
    std::unique_ptr<RouterLoss> (*make)(const MoeConfig&);
};

constexpr std::array kLosses{Entry{&BalanceConfig::switch_loss, make_switch_loss},
                             Entry{&BalanceConfig::z_loss, make_z_loss}};

}  // namespace

std::vector<std::unique_ptr<RouterLoss>> make_router_losses(const MoeConfig& config) {
    std::vector<std::unique_ptr<RouterLoss>> losses;
    for (const Entry& entry : kLosses) {
        if (config.balance.*entry.coefficient != 0.0) losses.push_back(entry.make(config));
    }
    return losses;
}

}  // namespace sy::model
