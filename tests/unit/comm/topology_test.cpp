// Nodes and the process grid.
#include <catch2/catch.hpp>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/topology/topology.hpp"

using namespace sy;
using namespace sy::comm;

TEST_CASE("topology: nodes are numbered by their lowest rank", "[unit]") {
    for (const auto& [ranks, per_node, expected] :
         {std::tuple{6, 2, std::vector<int>{0, 0, 1, 1, 2, 2}},
          std::tuple{5, 3, std::vector<int>{0, 0, 0, 1, 1}}, std::tuple{4, 0, std::vector<int>{0, 0, 0, 0}},
          std::tuple{1, 1, std::vector<int>{0}}}) {
        LocalOptions options;
        options.ranks_per_node = per_node;
        std::vector<Topology> seen(static_cast<std::size_t>(ranks));
        LocalFabric(ranks, options).run([&](Communicator& world) {
            seen[static_cast<std::size_t>(world.rank())] = discover_topology(world);
        });
        for (const Topology& topology : seen) CHECK(topology.node_of_rank == expected);
    }
}

TEST_CASE("topology: a communicator of some ranks sees their nodes only", "[unit]") {
    LocalOptions options;
    options.ranks_per_node = 2;
    LocalFabric(6, options).run([](Communicator& world) {
        // Ranks 1 2 3 4 5 in reversed order: nodes of ranks 5 and 4, 3 and 2, 1.
        const std::unique_ptr<Communicator> part = world.split(world.rank() == 0 ? 0 : 1, -world.rank());
        const Topology topology = discover_topology(*part);
        if (world.rank() > 0)
            SY_REQUIRE(topology.node_of_rank == std::vector<int>({0, 0, 1, 1, 2}), topology.to_string());
        part->close();
    });
}

TEST_CASE("topology: counts and text", "[unit]") {
    const Topology topology{{0, 1, 0, 1, 1}};
    CHECK(topology.num_ranks() == 5);
    CHECK(topology.num_nodes() == 2);
    CHECK(topology.ranks_on_node_of(0) == 2);
    CHECK(topology.ranks_on_node_of(4) == 3);
    CHECK(topology.to_string() == "5 ranks on 2 nodes: 2, 3");
    CHECK(Topology{{0}}.to_string() == "1 rank on 1 node");
    CHECK(Topology{}.num_nodes() == 0);
}

TEST_CASE("topology: every rank of the grid meets its row and its column", "[unit]") {
    for (const int expert_parallel : {1, 2, 3, 6}) {
        LocalFabric(6).run([&](Communicator& world) {
            GridCommunicators groups = split_grid(world, make_process_grid(6, expert_parallel));
            const int mine = world.rank();
            const std::vector<std::int32_t> row =
                all_gather(*groups.expert_group, std::span<const std::int32_t>(&mine, 1));
            const std::vector<std::int32_t> column =
                all_gather(*groups.replica_group, std::span<const std::int32_t>(&mine, 1));
            SY_REQUIRE(static_cast<int>(row.size()) == expert_parallel, row.size(), " ranks in a row");
            SY_REQUIRE(static_cast<int>(column.size()) == 6 / expert_parallel, column.size(),
                       " ranks in a column");
            for (const std::int32_t other : row)
                SY_REQUIRE(other / expert_parallel == mine / expert_parallel, other);
            for (const std::int32_t other : column)
                SY_REQUIRE(other % expert_parallel == mine % expert_parallel, other);
            groups.close();
        });
    }
    CHECK(make_process_grid(6, 0) == ProcessGrid{6, 1});
    CHECK(make_process_grid(6, 2).to_string() == "expert-parallel 2 x data-parallel 3");
    CHECK_THROWS_WITH(make_process_grid(6, 4), Catch::Contains("does not divide the 6 ranks"));
    CHECK_THROWS_AS(make_process_grid(6, -2), ConfigError);
    CHECK_THROWS_AS(make_process_grid(6, 12), ConfigError);
}
