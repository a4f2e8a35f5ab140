// switchyard-sim: the exchange of a mixture layer on more ranks than there are machines, in SimGrid's simulation.
#include <iostream>

#include "runtime/cli/guarded_main.hpp"
#include "runtime/sim/recorded.hpp"
#include "runtime/sim/report.hpp"

namespace sy::runtime::sim {
namespace {

/// What --check holds a simulation to. @return whether it is so
bool is_right(const Point& point, const Simulated& simulated) {
    const LayerTimes& times = simulated.times;
    // Inside a node the hierarchical exchange sends no messages.
    const double in_node = point.exchange == comm::ExchangeKind::flat ? times.node_bytes : 0.0;
    return times.error <= 1e-5 && simulated.sent_to_network == times.network_bytes &&
           simulated.sent_in_node == in_node;
}

/// The routing of a rank, generated or recorded. Sets what the recorded one decides.
std::function<RankRouting(int)> routing_source(const Options& options, Point& point) {
    RoutingShape& shape = point.layer.routing;
    if (options.trace.empty()) {
        shape.experts = std::max<index_t>(shape.experts, point.num_ranks);
        return [profile = options.profile, shape](int rank) { return make_routing(profile, shape, rank); };
    }
    const auto recorded = std::make_shared<RecordedRouting>(options.trace, options.layer);
    shape.experts = recorded->experts();
    shape.top_k = recorded->top_k();
    return [recorded, tokens = shape.tokens](int rank) { return recorded->of_rank(rank, tokens); };
}

int run(const Options& options) {
    ScalingReport report(std::cout, options);
    bool all_right = true;
    for (const int num_ranks : options.ranks) {
        for (const comm::ExchangeKind exchange : options.exchanges) {
            Point point = options.point;
            point.num_ranks = num_ranks;
            point.exchange = exchange;
            point.platform.num_nodes = static_cast<int>(ceil_div(num_ranks, point.ranks_per_node));
            const auto routing_of = routing_source(options, point);
            const Simulated simulated = simulate(point, routing_of);
            report.add(point, simulated);
            if (options.check && !is_right(point, simulated)) {
                all_right = false;
                std::cerr << "switchyard-sim: wrong: tokens came back with an error of "
                          << simulated.times.error << "; messages had " << simulated.sent_in_node << " and "
                          << simulated.sent_to_network << " bytes in and between nodes, the exchange counted "
                          << simulated.times.node_bytes << " and " << simulated.times.network_bytes << '\n';
            }
        }
    }
    report.finish();
    return all_right ? 0 : 1;
}

}  // namespace
}  // namespace sy::runtime::sim

int main(int argc, char** argv) {
    namespace sim = sy::runtime::sim;
    const auto body = [&] {
        std::string help;
        const std::optional<sim::Options> options = sim::parse_options(argc, argv, help);
        if (options) return sim::run(*options);
        std::cout << help;
        return 0;
    };
    return sy::runtime::guarded_main(
        body, {.rank = -1, .host = "this machine", .messages = std::cerr, .abort_job = {}});
}
