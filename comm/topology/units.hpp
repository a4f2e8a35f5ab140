#pragma once

#include <span>

#include "comm/exchange_kind.hpp"
#include "comm/topology/topology.hpp"

namespace sy::comm {

struct UnitAxis;
/// A value per unit.
template <class T>
using PerUnit = Indexed<UnitAxis, T>;
/// What goes to each unit.
using UnitOffsets = Offsets<UnitAxis>;
/// Ranks in the order of their units, then ascending.
struct PlaceAxis;
/// What goes to each rank, in the order of places.
using PlaceOffsets = Offsets<PlaceAxis>;
/// The ranks of one unit, ascending.
struct MemberAxis;

/// The ranks of a group in units: a row is sent once to a unit, and all its ranks read it. The flat exchange has a unit for
/// each rank, the hierarchical one for each node, whose ranks share memory. A pure value, equal on all ranks.
///
/// What a rank sends to a unit is received by one of its ranks, the *gateway*, which sends the answer back too. Ranks with
/// the same number on different nodes are each other's gateways, so that they share the work and the network evenly.
class Units {
  public:
    /// @param topology  of the group
    Units(ExchangeKind kind, const Topology& topology);

    int num_ranks() const { return static_cast<int>(unit_of_rank_.size()); }
    int num_units() const { return static_cast<int>(member_offsets_.num_groups()); }
    int unit_of(int rank) const { return unit_of_rank_[rank]; }
    /// Ranks of a unit, ascending.
    std::span<const int> members_of(int unit) const {
        return part<const int>(rank_at_place_, member_offsets_[unit]);
    }
    /// The number of a rank among the members of its unit.
    int member_number(int rank) const {
        return static_cast<int>(place_of(rank) - member_offsets_[unit_of(rank)].begin);
    }
    index_t place_of(int rank) const { return place_of_rank_[rank]; }
    /// Places of the ranks of a unit.
    Range places_of(int unit) const { return member_offsets_[unit]; }
    /// The rank of `unit` that receives what `source`, of another unit, sends there.
    int gateway(int source, int unit) const {
        const std::span<const int> members = members_of(unit);
        return members[static_cast<std::size_t>(member_number(source)) % members.size()];
    }
    /// Whether two ranks are on one node, whatever their units.
    bool on_one_node(int a, int b) const { return topology_.node_of_rank[a] == topology_.node_of_rank[b]; }
    const Topology& topology() const { return topology_; }

  private:
    Topology topology_;
    PerRank<int> unit_of_rank_;
    Offsets<UnitAxis> member_offsets_;
    Indexed<PlaceAxis, int> rank_at_place_;
    PerRank<index_t> place_of_rank_;
};

}  // namespace sy::comm
