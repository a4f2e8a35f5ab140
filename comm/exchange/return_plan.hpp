#pragma once

#include <cstdint>

#include "comm/exchange/receive_plan.hpp"
#include "comm/exchange/relay.hpp"

/// How outputs of experts come back to their tokens.
namespace sy::comm {

/// How expert outputs travel to other units: added over the experts of a unit first (one row per token and unit), or one row
/// per choice, so that the grouping of experts by rank does not show in the sum (`reproducible`).
enum class ReturnRows { per_unit, per_choice };

struct ReturnAxis;

/// Where a rank has results: of its own experts, others that it adds up, and rows that come back from other units.
struct ResultLayout {
    Range slots;              ///< of its own experts
    Range returned;           ///< what comes back to it from other units
    index_t num_slots = 0;    ///< all slots, before what comes back
    index_t num_results = 0;  ///< all of it
};

/// What a rank sends back, as the gateway of ranks of other units.
struct GatewayPlan {
    RankOffsets row_offsets;   ///< rows that came from each source
    RankOffsets slot_offsets;  ///< their records
    /// The slots of row r are row_slot_offsets[r] of `row_slots`: places among the unit's results, by ascending choice.
    Offsets<RowAxis> row_slot_offsets;
    Indexed<ReturnAxis, std::int32_t> row_slots;
    /// Place among the unit's results of each record, in the order of the records.
    Indexed<RecordAxis, std::int32_t> slot_of_record;
    bool operator==(const GatewayPlan&) const = default;
};

/// What a rank adds up for its tokens.
struct ReturnPlan {
    /// Rows of the unit's results that belong to token t, in the order in which they are added: ascending choice; a row
    /// that other units have added up stands at its first choice. Those of token t are offsets[t] of `rows`.
    Offsets<TokenAxis> offsets;
    Indexed<ReturnAxis, std::int32_t> rows;
    /// [T * K] where the slot of a choice is, or -1 when dropped: among the unit's slots, or behind these among the slots
    /// that this rank sent to other units.
    Indexed<ChoiceAxis, std::int32_t> slot_of_choice;
    Range slots;                    ///< results that this rank computes
    Range returned;                 ///< results that come to this rank from other units
    index_t num_slots_of_unit = 0;  ///< slots of the unit whose results this rank can read
    index_t num_results = 0;        ///< those, and what comes back from other units
    index_t rows_of_others = 0;     ///< rows of this rank's unit that also other ranks read
    index_t slots_of_others = 0;    ///< slots of other ranks of the unit that this rank adds up
    bool operator==(const ReturnPlan&) const = default;
};

/// @param records, places  of the unit: records by source and member, and the place of each among the unit's results
/// @throws CommError naming the source whose records leave a row out
/// @par Cost  two passes over the records of the sources that this rank is the gateway of
GatewayPlan make_gateway_plan(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                              IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units,
                              int rank);

/// @param places  of the results of this rank's own records to its unit, by member
/// @par Cost  one pass over T * K choices
ReturnPlan make_return_plan(const SendPlan& send, const ResultLayout& layout,
                            IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units, int rank,
                            ReturnRows return_rows);
/// The same for a unit whose ranks share all its results. @param places  of all records of the unit
ReturnPlan make_return_plan(const SendPlan& send, const UnitCounts& counts,
                            IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units, int rank,
                            ReturnRows return_rows);

/// Rows that come back to `rank` from other units.
index_t num_returned(const SendPlan& send, const Units& units, int rank, ReturnRows return_rows);

/// The most that any rank of a group has, where memory is as large on all of them; 0 where it need not be.
struct MostRows {
    index_t rows = 0;     ///< that arrive
    index_t results = 0;  ///< of ResultLayout
    bool operator==(const MostRows&) const = default;
};

/// All that a rank needs for the way of its rows and its experts' rows, there and back.
struct DispatchPlan {
    SendPlan send;
    ReceivePlan receive;
    GatewayPlan gateway;
    ReturnPlan back;
    RelayPlan relay;  ///< of units whose ranks share no memory
    MostRows most;
    ReturnRows return_rows = ReturnRows::per_unit;

    index_t num_tokens() const { return send.num_tokens; }
    bool operator==(const DispatchPlan&) const = default;
};

}  // namespace sy::comm
