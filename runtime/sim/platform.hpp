#pragma once

#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace simgrid::s4u {
class Host;
}

namespace sy::runtime::sim {

enum class Network {
    fat_tree,  ///< leaf switches of 16 nodes, joined by as many others as their links need
    dragonfly,  ///< groups of 32 nodes: 2 chassis of 4 routers with 4 nodes each; two links between routers of a chassis
    one_switch  ///< all nodes on one switch
};

/// Bytes and seconds; links carry their bandwidth both ways at once.
struct PlatformShape {
    Network network = Network::fat_tree;
    int num_nodes = 1;
    double bandwidth = 0.0;         ///< of each link, a node's own among them
    double latency = 0.0;           ///< of each link
    double oversubscription = 1.0;  ///< fat tree: links to the nodes of a leaf over those to other switches
    double node_bandwidth = 0.0;    ///< of all messages inside a node together
    double node_latency = 0.0;
};

/// The fewest switches above a leaf that keep the oversubscription, and the leaves; a pure function.
struct FatTree {
    int nodes_of_leaf = 1;
    int num_leaves = 1;
    int num_spines = 0;  ///< 0: one leaf is all there is
    bool operator==(const FatTree&) const = default;
};
FatTree plan_fat_tree(int num_nodes, double oversubscription);

/// Builds the platform of this process's engine. @return the nodes; there may be more than that in the network
std::vector<simgrid::s4u::Host*> make_platform(const PlatformShape& shape);

}  // namespace sy::runtime::sim
