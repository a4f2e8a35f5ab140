#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/exchange/send_plan.hpp"

/// What a rank's experts work on. P ranks of the group, M members of this rank's unit, L experts on this rank (shadows too),
/// R rows received by the unit, S slots = (received row, local expert) pairs of this rank.
namespace sy::comm {

/// What all ranks send to one unit, checked, as one of its members sees it: memory for P ranks and M members, not for every
/// pair of them.
class UnitCounts {
  public:
    /// @param announced  [P, 1 + M] by source: rows to the unit, then slot records to each of its members
    /// @param returned   [M] rows that come back to each member from other units
    /// @param member     number of the member among those of its unit
    /// @throws CommError naming the source whose counts cannot be, or when they are more than a plan can number
    UnitCounts(MatrixView<const index_t> announced, std::span<const index_t> returned, int member);

    const RankOffsets& row_offsets() const { return row_offsets_; }
    index_t num_records() const { return slot_offsets_.total(); }
    int member() const { return member_; }
    /// Records of a source to all members, and those among them to this one.
    Range records(int source) const { return record_offsets_[source]; }
    Range own_records(int source) const { return own_records_[source]; }
    /// The results of a unit: first the slots of its members, then the rows that come back to each from other units.
    Range slots_of(int member) const { return slot_offsets_[member]; }
    Range returned_to(int member) const {
        const Range rows = returned_offsets_[member];
        return {num_records() + rows.begin, num_records() + rows.end};
    }
    index_t num_results() const { return num_records() + returned_offsets_.total(); }

  private:
    int member_;
    RankOffsets row_offsets_;
    RankOffsets record_offsets_;
    PerRank<Range> own_records_;
    Offsets<MemberAxis> slot_offsets_;
    Offsets<MemberAxis> returned_offsets_;
};

/// How the slots of a rank are divided. `by_arrival`: into those of rows from its own unit, for the first and for the second
/// half of its experts, and between them those of rows from other units, so that there is work while these rows travel, and
/// again while their results do.
enum class SlotChunks { one, by_arrival };

/// Slots that experts work on together.
struct SlotChunk {
    Range slots;
    Offsets<LocalExpertAxis> experts;  ///< slots of each expert, counted from slots.begin
    bool near = false;                 ///< all rows are of this rank's unit
    bool operator==(const SlotChunk&) const = default;
};

/// Destination side, a pure function of the records received.
struct ReceivePlan {
    RankOffsets row_offsets;  ///< rows of the unit from each rank
    /// Slots sorted by chunk, then local expert, then source rank, then row: inside an expert global token order, since
    /// ranks hold ascending token ranges. One chunk, or three.
    std::vector<SlotChunk> chunks;
    PerSlot<std::int32_t> slot_row;     ///< [S] received row of each sorted slot
    PerSlot<float> slot_weight;         ///< [S]
    PerSlot<std::int32_t> slot_source;  ///< [S] rank that each sorted slot came from
    PerSlot<std::int32_t> slot_token;   ///< [S] its token there
    /// [S] sorted position of each record of this rank, by source.
    Indexed<RecordAxis, std::int32_t> slot_of_record;

    index_t num_rows() const { return row_offsets.total(); }
    index_t num_slots() const { return chunks.empty() ? 0 : chunks.back().slots.end; }
    /// Slots of each expert where there is one chunk. @throws LogicError where there are more
    const Offsets<LocalExpertAxis>& expert_offsets() const;
    std::string to_string() const;
    bool operator==(const ReceivePlan&) const = default;
};

/// @param records  all records that the unit has received, by source, then by member
/// @param rank     of the group, the member that the plan is for
/// @throws CommError naming the source when a record names an expert that is not here, a row that was not announced, or is
///         not in the order of SendPlan::slots
/// @par Cost  two passes over S records: a counting sort by chunk and expert
ReceivePlan make_receive_plan(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                              const Placement& placement, const Units& units, int rank,
                              SlotChunks chunks = SlotChunks::one);

}  // namespace sy::comm
