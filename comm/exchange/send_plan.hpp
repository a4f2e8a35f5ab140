#pragma once

#include <cstdint>
#include <string>

#include "comm/exchange/placement.hpp"
#include "comm/topology/units.hpp"
#include "kernels/core/host_view.hpp"

/// What a rank sends to the experts of its tokens. T tokens and K choices on this rank, P ranks of the expert-parallel group.
namespace sy::comm {

/// The decision of the router for this rank's tokens, after capacity.
struct Choices {
    HostRef expert;           ///< [T, K] i32, global expert of each choice
    HostRef weight;           ///< [T, K] f32, combine weight
    HostRef kept;             ///< [T, K] u8, 1 when the choice got a slot
    index_t first_token = 0;  ///< global number of token 0: with seq_len it decides which copies of
    index_t seq_len = 1;      ///< replicated experts are used (Placement::rank_for), never a result
};

/// What a rank tells another about one choice it sends along.
struct SlotRecord {
    std::int32_t row;     ///< position among the rows this source sends to the destination's unit
    std::int32_t expert;  ///< global expert
    std::int32_t choice;  ///< choice rank j of the token
    std::int32_t token;   ///< position of the token among the source's tokens
    float weight;
    bool operator==(const SlotRecord&) const = default;
};

struct RecordAxis;
struct ChoiceAxis;

/// A pure function of choices and placement: one row per (token, destination unit).
struct SendPlan {
    UnitOffsets row_offsets;         ///< rows to each unit
    PerRow<std::int32_t> row_token;  ///< token of each row; ascending inside a unit
    PlaceOffsets slot_offsets;  ///< slot records to each rank, by place: those to a unit follow each other
    /// Grouped by destination, then by row, then by ascending choice: a destination relies on this order.
    Indexed<RecordAxis, SlotRecord> slots;
    Indexed<RecordAxis, std::int32_t> slot_row;  ///< row of each slot among all rows sent
    /// [T * K] position of each choice in `slots`, or -1 when dropped.
    Indexed<ChoiceAxis, std::int32_t> slot_of_choice;
    index_t num_tokens = 0;
    /// (token, node) pairs of other nodes: the fewest rows that could cross the network, whatever the units are.
    index_t least_network_rows = 0;

    index_t num_rows() const { return row_offsets.total(); }
    index_t num_slots() const { return slot_offsets.total(); }
    index_t top_k() const { return num_tokens == 0 ? 0 : slot_of_choice.size() / num_tokens; }
    /// Slots to the ranks of a unit.
    Range slots_to(const Units& units, int unit) const {
        const Range places = units.places_of(unit);
        return {slot_offsets[places.begin].begin, slot_offsets[places.end - 1].end};
    }
    std::string to_string() const;
    bool operator==(const SendPlan&) const = default;
};

/// @param rank  the source, in the group
/// @throws LogicError when shapes differ or a kept choice names no expert of the placement; dropped ones may
/// @par Cost  two passes over T * K choices, no search; with shadows another over E experts a sequence
SendPlan make_send_plan(const Choices& choices, const Placement& placement, const Units& units, int rank);

}  // namespace sy::comm
