#pragma once

#include <cstdint>

#include "comm/exchange/return_plan.hpp"

/// Plans of the ranks of a unit that share no memory. P ranks of the group, M members of the unit.
namespace sy::comm {

/// What all ranks send to a unit, as its members read it.
struct UnitRecords {
    MatrixView<const index_t> announced;  ///< [P, 1 + M] that `counts` were made of
    const UnitCounts& counts;
    IndexedSpan<RecordAxis, const SlotRecord>
        records;  ///< by source, then by member; checked by every member

    /// Records of a source to one member. @par Cost  one pass over the members before it
    Range records_to(int source, int member) const;
};

/// What a member plans where ranks of a unit share no memory.
struct RelayedResults {
    RelayPlan plan;
    /// Where this rank has the result of each record: its own slots, and those that come to it; -1 for the others.
    Indexed<RecordAxis, std::int32_t> places;
    ResultLayout layout;
};

/// Leaves only those rows in a plan that this rank's experts read: receive.row_offsets and slot_row number them anew.
/// @param receive  of make_receive_plan for the same records
void keep_rows_read_here(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                         const Units& units, ReceivePlan& receive);

/// @param send     of this rank
/// @param receive  as keep_rows_read_here has left it
/// @par Cost  one pass over the records of the unit, and P * M; the result grows with the rows of this rank, but for its
///            places: one for each record of the unit
RelayedResults make_relay_plan(const SendPlan& send, const UnitRecords& unit, const ReceivePlan& receive,
                               const Units& units, int rank);

}  // namespace sy::comm
