#include "comm/topology/units.hpp"

namespace sy::comm {

Units::Units(ExchangeKind kind, const Topology& topology)
    : topology_(topology), unit_of_rank_(topology.num_ranks()), place_of_rank_(topology.num_ranks()) {
    const bool by_node = kind == ExchangeKind::hierarchical;
    PerUnit<PerRank<int>> members(by_node ? topology.num_nodes() : topology.num_ranks());
    for (int rank = 0; rank < topology.num_ranks(); ++rank) {
        unit_of_rank_[rank] = by_node ? topology.node_of_rank[rank] : rank;
        members[unit_of_rank_[rank]].push_back(rank);
    }
    for (const PerRank<int>& of_unit : members) {
        SY_REQUIRE(!of_unit.empty(), "units: a node without ranks in ", topology.to_string());
        member_offsets_.append(of_unit.size());
        for (const int rank : of_unit) {
            place_of_rank_[rank] = rank_at_place_.size();
            rank_at_place_.push_back(rank);
        }
    }
}

}  // namespace sy::comm
