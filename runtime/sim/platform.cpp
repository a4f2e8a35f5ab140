#include "runtime/sim/platform.hpp"

#include <algorithm>
#include <cmath>
#include <simgrid/s4u.hpp>

namespace sy::runtime::sim {
namespace {

namespace s4u = simgrid::s4u;
using Coordinates = std::vector<unsigned long>;
using NetPoints = std::pair<simgrid::kernel::routing::NetPoint*, simgrid::kernel::routing::NetPoint*>;

constexpr int kNodesOfLeaf = 16;
constexpr unsigned kRouterNodes = 4;
constexpr unsigned kRouters = 4;
constexpr unsigned kChassis = 2;

unsigned count(int value) {
    return narrow<unsigned>(value);
}

}  // namespace

FatTree plan_fat_tree(int num_nodes, double oversubscription) {
    if (num_nodes <= kNodesOfLeaf) return {num_nodes, 1, 0};
    const int leaves = static_cast<int>(ceil_div(num_nodes, kNodesOfLeaf));
    const int spines = std::max(1, static_cast<int>(std::ceil(kNodesOfLeaf / oversubscription)));
    return {kNodesOfLeaf, leaves, spines};
}

std::vector<s4u::Host*> make_platform(const PlatformShape& shape) {
    std::vector<s4u::Host*> hosts;
    const auto make_host = [&](s4u::NetZone* zone, const Coordinates&, unsigned long id) {
        // Ranks compute by letting time pass, each by itself: the speed is never used.
        s4u::Host* const host = zone->create_host(concat("node-", id), 1e9)->seal();
        hosts.push_back(host);
        return NetPoints{host->get_netpoint(), nullptr};
    };
    const auto make_loopback = [&](s4u::NetZone* zone, const Coordinates&, unsigned long id) {
        return zone->create_link(concat("memory-", id), shape.node_bandwidth)
            ->set_latency(shape.node_latency)
            ->set_sharing_policy(s4u::Link::SharingPolicy::SHARED)
            ->seal();
    };
    const s4u::ClusterCallbacks callbacks(make_host, make_loopback, {});
    constexpr auto kBothWays = s4u::Link::SharingPolicy::SPLITDUPLEX;
    s4u::NetZone* zone = nullptr;
    if (shape.network == Network::dragonfly) {
        const int nodes_of_group = static_cast<int>(kRouterNodes * kRouters * kChassis);
        const unsigned groups = count(static_cast<int>(ceil_div(shape.num_nodes, nodes_of_group)));
        zone = s4u::create_dragonfly_zone("network", nullptr,
                                          {{groups, 2}, {kChassis, 2}, {kRouters, 2}, kRouterNodes},
                                          callbacks, shape.bandwidth, shape.latency, kBothWays);
    } else {
        const FatTree tree = shape.network == Network::one_switch
                                 ? FatTree{shape.num_nodes, 1, 0}
                                 : plan_fat_tree(shape.num_nodes, shape.oversubscription);
        const s4u::FatTreeParams parameters =
            tree.num_spines == 0 ? s4u::FatTreeParams(1, {count(tree.nodes_of_leaf)}, {1}, {1})
                                 : s4u::FatTreeParams(2, {count(tree.nodes_of_leaf), count(tree.num_leaves)},
                                                      {1, count(tree.num_spines)}, {1, 1});
        zone = s4u::create_fatTree_zone("network", nullptr, parameters, callbacks, shape.bandwidth,
                                        shape.latency, kBothWays);
    }
    zone->seal();
    hosts.resize(static_cast<std::size_t>(shape.num_nodes));
    return hosts;
}

}  // namespace sy::runtime::sim
