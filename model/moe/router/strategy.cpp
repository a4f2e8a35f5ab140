#include "model/moe/router/strategy.hpp"

#include <array>

namespace sy::model {
namespace {

struct Entry {
    const char* name;
    std::unique_ptr<RoutingStrategy> (*make)(const MoeConfig&);
};

constexpr std::array kStrategies{
    Entry{"top_k", make_top_k},
    Entry{"group_limited", make_group_limited},
    Entry{"expert_choice", make_expert_choice},
    Entry{"base", make_base},
    Entry{"sinkhorn", make_sinkhorn},
    Entry{"reinforce", make_reinforce},
    Entry{"hash", make_hash},
};

}  // namespace

std::vector<std::string> router_names() {
    std::vector<std::string> names;
    for (const Entry& entry : kStrategies) names.emplace_back(entry.name);
    return names;
}

std::unique_ptr<RoutingStrategy> make_strategy(const MoeConfig& config) {
    std::string known;
    for (const Entry& entry : kStrategies) {
        if (config.router == entry.name) return entry.make(config);
        known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw ConfigError(concat("moe.router = ", config.router, " is unknown; known: ", known));
}

}  // namespace sy::model
