#include "runtime/sim/report.hpp"

#include <algorithm>
#include <iomanip>

#include "runtime/json/json.hpp"

namespace sy::runtime::sim {
namespace {

const char* network_name(Network network) {
    switch (network) {
        case Network::fat_tree:
            return "fat-tree";
        case Network::dragonfly:
            return "dragonfly";
        case Network::one_switch:
            return "one-switch";
    }
    return "";
}

std::string rounded(double value, int digits) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << value;
    return text.str();
}

std::string ms(double seconds) {
    return rounded(1e3 * seconds, 3);
}

}  // namespace

double ScalingReport::retained(const Entry& entry) const {
    const auto first = std::ranges::find(entries_, entry.exchange, &Entry::exchange);
    return entry.tokens_per_second / first->tokens_per_second;
}

void ScalingReport::add(const Point& point, const Simulated& simulated) {
    const LayerTimes& times = simulated.times;
    const auto tokens = static_cast<double>(point.layer.routing.tokens);
    entries_.push_back({point.num_ranks, point.exchange, tokens / times.layer(), times.layer()});
    const Entry& entry = entries_.back();
    const std::string routing = options_.trace.empty() ? to_string(options_.profile) : options_.trace;
    if (options_.as_json) {
        const Json line(Json::Object{{"platform", network_name(point.platform.network)},
                                     {"routing", routing},
                                     {"ranks", point.num_ranks},
                                     {"ranks_per_node", point.ranks_per_node},
                                     {"exchange", comm::exchange_name(point.exchange)},
                                     {"tokens", point.layer.routing.tokens},
                                     {"hidden", point.layer.hidden},
                                     {"experts", point.layer.routing.experts},
                                     {"top_k", point.layer.routing.top_k},
                                     {"plan_seconds", times.plan},
                                     {"dispatch_seconds", times.dispatch},
                                     {"return_seconds", times.back},
                                     {"forward_seconds", times.forward},
                                     {"backward_seconds", times.backward},
                                     {"exposed_seconds", times.waited},
                                     {"node_bytes", times.node_bytes},
                                     {"network_bytes", times.network_bytes},
                                     {"network_bound_bytes", times.network_bound},
                                     {"message_bytes_in_node", simulated.sent_in_node},
                                     {"message_bytes_to_network", simulated.sent_to_network},
                                     {"tokens_per_second_of_rank", entry.tokens_per_second},
                                     {"retained", retained(entry)},
                                     {"error", times.error},
                                     {"wall_seconds", simulated.wall_seconds}});
        out_ << line.text() << std::endl;
        return;
    }
    if (entries_.size() == 1) {
        out_ << network_name(point.platform.network) << ", " << point.ranks_per_node << " ranks a node, "
             << routing << ", " << point.layer.routing.tokens << " tokens of " << point.layer.hidden
             << " a rank, top " << point.layer.routing.top_k << " of " << point.layer.routing.experts
             << " experts or more\n"
             << " ranks  exchange      plan ms  dispatch ms  return ms   layer ms  exposed  node MB  network "
                "MB  "
                "of bound  tokens/s/rank  retained  simulated in\n";
    }
    const std::string of_bound =
        times.network_bound > 0.0 ? rounded(times.network_bytes / times.network_bound, 2) : "-";
    out_ << std::setw(6) << point.num_ranks << "  " << std::left << std::setw(12)
         << comm::exchange_name(point.exchange) << std::right << std::setw(9) << ms(times.plan)
         << std::setw(13) << ms(times.dispatch) << std::setw(11) << ms(times.back) << std::setw(11)
         << ms(times.layer()) << std::setw(7) << rounded(100.0 * times.waited / times.layer(), 0) << " %"
         << std::setw(9) << rounded(1e-6 * times.node_bytes, 1) << std::setw(12)
         << rounded(1e-6 * times.network_bytes, 1) << std::setw(10) << of_bound << std::setw(15)
         << rounded(entry.tokens_per_second, 0) << std::setw(10) << rounded(retained(entry), 3)
         << std::setw(12) << rounded(simulated.wall_seconds, 1) << " s" << std::endl;
}

void ScalingReport::finish() {
    if (options_.as_json) return;
    int wins_from = 0;
    bool has_both = false;
    for (const Entry& flat : entries_) {
        if (flat.exchange != comm::ExchangeKind::flat) continue;
        for (const Entry& other : entries_) {
            if (other.exchange == flat.exchange || other.num_ranks != flat.num_ranks) continue;
            has_both = true;
            const bool wins = other.layer_seconds < flat.layer_seconds;
            // From there on, on all numbers of ranks that were simulated.
            if (wins && wins_from == 0) wins_from = flat.num_ranks;
            if (!wins) wins_from = 0;
        }
    }
    if (!has_both) return;
    if (wins_from > 0)
        out_ << "The layer is faster with hierarchical from " << wins_from << " ranks on.\n";
    else
        out_ << "The layer is faster with flat, up to the most ranks that were simulated.\n";
}

}  // namespace sy::runtime::sim
