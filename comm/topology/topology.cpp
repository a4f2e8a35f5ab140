#include "comm/topology/topology.hpp"

#include <algorithm>

#include "comm/collectives.hpp"

namespace sy::comm {

int Topology::num_nodes() const {
    return node_of_rank.empty() ? 0 : *std::max_element(node_of_rank.begin(), node_of_rank.end()) + 1;
}

int Topology::ranks_on_node_of(int rank) const {
    const int node = node_of_rank[rank];
    return static_cast<int>(std::count(node_of_rank.begin(), node_of_rank.end(), node));
}

std::string Topology::to_string() const {
    std::string text = concat(num_ranks(), num_ranks() == 1 ? " rank on " : " ranks on ", num_nodes(),
                              num_nodes() == 1 ? " node" : " nodes");
    for (int node = 0; node < num_nodes() && num_nodes() > 1; ++node) {
        text += concat(node == 0 ? ": " : ", ", std::count(node_of_rank.begin(), node_of_rank.end(), node));
    }
    return text;
}

Topology discover_topology(Communicator& world) {
    const std::unique_ptr<Communicator> node = world.split_by_node();
    // A node is named by its lowest world rank, then numbered in that order.
    std::int32_t leader = world.rank();
    broadcast(*node, std::span<std::int32_t>(&leader, 1), 0);
    const std::vector<std::int32_t> leaders = all_gather(world, std::span<const std::int32_t>(&leader, 1));
    node->close();
    std::vector<std::int32_t> order = leaders;
    std::sort(order.begin(), order.end());
    order.erase(std::unique(order.begin(), order.end()), order.end());
    Topology topology;
    for (const std::int32_t name : leaders) {
        topology.node_of_rank.push_back(
            static_cast<int>(std::lower_bound(order.begin(), order.end(), name) - order.begin()));
    }
    return topology;
}

std::string ProcessGrid::to_string() const {
    return concat("expert-parallel ", expert_parallel, " x data-parallel ", data_parallel);
}

ProcessGrid make_process_grid(int world_size, int expert_parallel) {
    const int wanted = expert_parallel == 0 ? world_size : expert_parallel;
    if (wanted < 1 || world_size % wanted != 0) {
        throw ConfigError(concat("parallel.expert_parallel = ", expert_parallel, " does not divide the ",
                                 world_size, " ranks of this run; use a divisor, or 0 for all ranks"));
    }
    return {wanted, world_size / wanted};
}

void GridCommunicators::close() {
    expert_group->close();
    replica_group->close();
}

GridCommunicators split_grid(Communicator& world, const ProcessGrid& grid) {
    const int row = grid.data_parallel_rank(world.rank());
    const int column = grid.expert_parallel_rank(world.rank());
    GridCommunicators groups;
    groups.expert_group = world.split(row, column);
    groups.replica_group = world.split(column, row);
    return groups;
}

}  // namespace sy::comm
