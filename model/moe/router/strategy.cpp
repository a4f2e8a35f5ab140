#include "model/moe/router/strategy.hpp"

#include <array>

#include "kernels/ops/gate/gate.hpp"

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

const Entry& entry_of(const std::string& router) {
    std::string known;
    for (const Entry& entry : kStrategies) {
        if (router == entry.name) return entry;
        known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw ConfigError(concat("moe.router = ", router, " is unknown; known: ", known));
}

}  // namespace

Tensor highest_scores(ConstTensorRef scores, index_t top_k, const Context& context) {
    Tensor expert(context.device, DType::i32, {scores.rows(), top_k});
    ops::gate_top_k(scores, expert, context);
    return expert;
}

std::vector<std::string> router_names() {
    std::vector<std::string> names;
    for (const Entry& entry : kStrategies) names.emplace_back(entry.name);
    return names;
}

void require_router(const std::string& router) {
    entry_of(router);
}

std::unique_ptr<RoutingStrategy> make_strategy(const MoeConfig& config) {
    return entry_of(config.router).make(config);
}

}  // namespace sy::model
