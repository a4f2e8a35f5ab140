#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/axes.hpp"
#include "comm/exchange/placement.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Who sends which rows where. T tokens and K choices on this rank, P ranks of the expert-parallel group,
/// L experts on this rank (shadows too), R rows received, S slots = (received row, local expert) pairs.
namespace sy::comm {

/// The decision of the router for this rank's tokens, after capacity.
struct Choices {
    ConstTensorRef expert;    ///< [T, K] i32, global expert of each choice
    ConstTensorRef weight;    ///< [T, K] f32, combine weight
    ConstTensorRef kept;      ///< [T, K] u8, 1 when the choice got a slot
    index_t first_token = 0;  ///< global number of token 0: with seq_len it decides which copies of
    index_t seq_len = 1;      ///< replicated experts are used (Placement::rank_for), never a result
};

/// How expert outputs travel back: added over the experts of a rank first (one row per token and rank), or one
/// row per choice, so that the grouping of experts by rank does not show in the sum (`reproducible`).
enum class ReturnRows { per_rank, per_choice };

/// What a rank tells another about one choice it sends along.
struct SlotRecord {
    std::int32_t row;     ///< position among the rows this source sends to this destination
    std::int32_t expert;  ///< global expert
    std::int32_t choice;  ///< choice rank j of the token
    std::int32_t token;   ///< position of the token among the source's tokens
    float weight;
    bool operator==(const SlotRecord&) const = default;
};

struct RecordAxis;
struct ReturnAxis;
struct ChoiceAxis;

/// Source side, a pure function of choices and placement: one row per (token, destination rank).
struct SendPlan {
    RankOffsets row_offsets;         ///< rows to each rank
    PerRow<std::int32_t> row_token;  ///< token of each row; ascending inside a destination
    RankOffsets slot_offsets;        ///< slot records to each rank
    /// Grouped by destination, then by row, then by ascending choice: a destination relies on this order.
    Indexed<RecordAxis, SlotRecord> slots;
    /// Rows (per_rank) or slots (per_choice) coming back for token t, in the order in which they are added:
    /// ascending choice (of a row: its first choice). Those of token t are return_offsets[t] of `returns`.
    Offsets<TokenAxis> return_offsets;
    Indexed<ReturnAxis, std::int32_t> returns;
    /// [T * K] position of each choice in `slots`, or -1 when dropped.
    Indexed<ChoiceAxis, std::int32_t> slot_of_choice;

    index_t num_rows() const { return row_offsets.total(); }
    index_t num_slots() const { return slot_offsets.total(); }
    std::string to_string() const;
    bool operator==(const SendPlan&) const = default;
};

/// Destination side, a pure function of the records received.
struct ReceivePlan {
    RankOffsets row_offsets;   ///< rows from each rank
    RankOffsets slot_offsets;  ///< records from each rank, in the order received
    /// Slots sorted by local expert, then source rank, then row: inside an expert global token order, since
    /// ranks hold ascending token ranges.
    Offsets<LocalExpertAxis> expert_offsets;
    PerSlot<std::int32_t> slot_row;     ///< [S] received row of each sorted slot
    PerSlot<float> slot_weight;         ///< [S]
    PerSlot<std::int32_t> slot_source;  ///< [S] rank that each sorted slot came from
    PerSlot<std::int32_t> slot_token;   ///< [S] its token there
    /// [S] sorted position of each received record. Records come by row, then by choice, so these are also the
    /// slots of received row r in ascending choice: row_slot_offsets[r] of slot_of_record.
    Indexed<RecordAxis, std::int32_t> slot_of_record;
    Offsets<RowAxis> row_slot_offsets;

    index_t num_rows() const { return row_offsets.total(); }
    index_t num_slots() const { return expert_offsets.total(); }
    std::string to_string() const;
    bool operator==(const ReceivePlan&) const = default;
};

struct DispatchPlan {
    SendPlan send;
    ReceivePlan receive;
    ReturnRows return_rows = ReturnRows::per_rank;

    index_t num_tokens() const { return send.return_offsets.num_groups(); }
    /// Rows that travel back to this rank, one for each entry of send.returns.
    index_t num_returned() const {
        return return_rows == ReturnRows::per_rank ? send.num_rows() : send.num_slots();
    }
    std::string to_string() const;
    bool operator==(const DispatchPlan&) const = default;
};

/// @param group_rank  of the source
/// @throws LogicError when shapes differ or a kept choice names no expert of the placement; dropped ones may
/// @par Cost  two passes over T * K choices, no search; with shadows another over E experts a sequence
SendPlan make_send_plan(const Choices& choices, const Placement& placement, int group_rank,
                        ReturnRows return_rows);

/// @param row_offsets, slot_offsets  [P + 1] what each rank sends here
/// @param records                    all records received, by source rank
/// @throws CommError naming the source when its counts cannot be, or a record names an expert that is not here,
///         leaves a row out, or is not in the order of SendPlan::slots
/// @par Cost  two passes over S records: a counting sort by expert
ReceivePlan make_receive_plan(std::span<const index_t> row_offsets, std::span<const index_t> slot_offsets,
                              IndexedSpan<RecordAxis, const SlotRecord> records, const Placement& placement,
                              int group_rank);

}  // namespace sy::comm
