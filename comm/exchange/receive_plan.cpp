#include "comm/exchange/receive_plan.hpp"

#include <limits>

#include "comm/exchange/list_text.hpp"
#include "kernels/core/host_view.hpp"

namespace sy::comm {
namespace {

constexpr std::int32_t kNothing = -1;
constexpr index_t kMost = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void refuse_record(index_t source, index_t record_idx, const SlotRecord& record, const char* why,
                                const Placement& placement) {
    throw CommError(concat("dispatch plan: rank ", source, " sent record ", record_idx, " (row ", record.row,
                           ", expert ", record.expert, ", choice ", record.choice, ", token ", record.token,
                           "): ", why, "; the placement here is ", placement.to_string()));
}

/// Why `record` cannot follow `last` among the records of one source for one rank, or null. Tokens ascend with the rows,
/// and choices ascend inside a row. Rows for other ranks of the unit only are left out.
const char* order_problem(const SlotRecord& last, const SlotRecord& record) {
    if (record.row < 0) return "no such row";
    if (record.choice < 0) return "no such choice";
    if (record.row == last.row) {
        if (record.token != last.token) return "another token in the same row";
        return record.choice > last.choice ? nullptr : "choices of a row must ascend";
    }
    if (record.row < last.row) return "rows must ascend";
    return record.token > last.token ? nullptr : "tokens must ascend";
}

/// Local number of each expert, or kNothing.
PerExpert<index_t> local_numbers(const Indexed<LocalExpertAxis, index_t>& local_experts,
                                 index_t num_experts) {
    PerExpert<index_t> numbers(num_experts, kNothing);
    for (index_t local = 0; local < local_experts.size(); ++local) numbers[local_experts[local]] = local;
    return numbers;
}

constexpr std::size_t kFarChunk = 1;

/// Checks every record of one member and counts the slots of each expert and chunk.
class RecordCheck {
  public:
    RecordCheck(IndexedSpan<RecordAxis, const SlotRecord> records, const Placement& placement,
                const Units& units, int rank, SlotChunks chunks)
        : records_(records),
          placement_(placement),
          units_(units),
          unit_(units.unit_of(rank)),
          chunks_(chunks),
          local_experts_(placement.experts_of(rank)),
          local_number_(local_numbers(local_experts_, placement.num_experts())),
          num_of_expert_(chunks == SlotChunks::one ? 1 : 3,
                         Indexed<LocalExpertAxis, index_t>(local_experts_.size(), 0)) {}

    void check_source(int source, Range of_source, index_t num_rows) {
        SlotRecord last{kNothing, 0, kNothing, kNothing, 0.0F};
        for (index_t i = of_source.begin; i < of_source.end; ++i) {
            const SlotRecord& record = records_[i];
            const auto refuse = [&](const char* why) {
                refuse_record(source, i - of_source.begin, record, why, placement_);
            };
            if (record.expert < 0 || record.expert >= placement_.num_experts()) refuse("no such expert");
            if (local_number_[record.expert] == kNothing) refuse("the expert is not here");
            if (const char* problem = order_problem(last, record)) refuse(problem);
            if (record.row >= num_rows) refuse("more rows than announced");
            const index_t local = local_number_[record.expert];
            ++num_of_expert_[chunk_of(source, local)][local];
            last = record;
        }
    }
    index_t local_number(index_t expert) const { return local_number_[expert]; }
    std::size_t chunk_of(int source, index_t local_expert) const {
        if (chunks_ == SlotChunks::one) return 0;
        if (units_.unit_of(source) != unit_) return kFarChunk;
        return local_expert < local_experts_.size() / 2 ? 0 : 2;
    }
    std::vector<SlotChunk> chunks() const {
        std::vector<SlotChunk> chunks;
        index_t begin = 0;
        for (const Indexed<LocalExpertAxis, index_t>& counts : num_of_expert_) {
            SlotChunk chunk;
            chunk.experts = Offsets<LocalExpertAxis>::of_counts(counts);
            chunk.slots = {begin, begin + chunk.experts.total()};
            chunk.near = chunks_ == SlotChunks::by_arrival && chunks.size() != kFarChunk;
            begin = chunk.slots.end;
            chunks.push_back(std::move(chunk));
        }
        return chunks;
    }

  private:
    IndexedSpan<RecordAxis, const SlotRecord> records_;
    const Placement& placement_;
    const Units& units_;
    int unit_;
    SlotChunks chunks_;
    Indexed<LocalExpertAxis, index_t> local_experts_;
    PerExpert<index_t> local_number_;
    std::vector<Indexed<LocalExpertAxis, index_t>> num_of_expert_;  ///< by chunk
};

}  // namespace

UnitCounts::UnitCounts(MatrixView<const index_t> announced, std::span<const index_t> returned, int member)
    : member_(member) {
    const auto num_members = static_cast<index_t>(returned.size());
    SY_REQUIRE(member >= 0 && member < num_members && announced.cols == 1 + num_members,
               "dispatch plan: counts of ", announced.cols, " numbers a rank for member ", member, " of ",
               num_members);
    Indexed<MemberAxis, index_t> num_slots(num_members, 0);
    index_t total = 0;
    for (index_t source = 0; source < announced.rows; ++source) {
        const index_t rows = announced(source, 0);
        index_t slots = 0;
        Range own;
        bool good = rows >= 0 && rows <= kMost;
        for (index_t i = 0; i < num_members && good; ++i) {
            const index_t to_member = announced(source, 1 + i);
            good = to_member >= 0 && to_member <= kMost;
            if (!good) break;
            const index_t begin = record_offsets_.total() + slots;
            if (i == member) own = {begin, begin + to_member};
            slots += to_member;
            num_slots[i] += to_member;
        }
        if (!good || slots < rows || (rows == 0 && slots > 0))
            throw CommError(concat("dispatch plan: rank ", source, " announced ", rows, " rows with ", slots,
                                   " records"));
        row_offsets_.append(rows);
        record_offsets_.append(slots);
        own_records_.push_back(own);
        total += slots;
    }
    Indexed<MemberAxis, index_t> num_returned(num_members, 0);
    for (index_t i = 0; i < num_members; ++i) {
        num_returned[i] = returned[static_cast<std::size_t>(i)];
        if (num_returned[i] < 0 || num_returned[i] > kMost)
            throw CommError(concat("dispatch plan: member ", i, " of this node announced ", num_returned[i],
                                   " rows that come back to it"));
        total += num_returned[i];
    }
    SY_REQUIRE(total <= kMost, "dispatch plan: ", total,
               " records and results arrive at one rank or node; use smaller micro-batches or more ranks");
    slot_offsets_ = Offsets<MemberAxis>::of_counts(num_slots);
    returned_offsets_ = Offsets<MemberAxis>::of_counts(num_returned);
}

ReceivePlan make_receive_plan(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                              const Placement& placement, const Units& units, int rank, SlotChunks chunks) {
    SY_REQUIRE(records.size() == counts.num_records(), "dispatch plan: ", records.size(), " records, ",
               counts.num_records(), " announced");
    SY_REQUIRE(counts.member() == units.member_number(rank), "dispatch plan: counts of member ",
               counts.member(), " for rank ", rank);
    const int num_ranks = units.num_ranks();
    RecordCheck check(records, placement, units, rank, chunks);
    for (int source = 0; source < num_ranks; ++source)
        check.check_source(source, counts.own_records(source), counts.row_offsets()[source].size());
    ReceivePlan plan;
    plan.row_offsets = counts.row_offsets();
    plan.chunks = check.chunks();
    std::vector<Indexed<LocalExpertAxis, index_t>> next;  // free slots, by chunk
    for (const SlotChunk& chunk : plan.chunks) {
        next.push_back(chunk.experts.begins());
        for (index_t& slot : next.back()) slot += chunk.slots.begin;
    }
    const index_t num_slots = counts.slots_of(counts.member()).size();
    plan.slot_row.resize(num_slots);
    plan.slot_weight.resize(num_slots);
    plan.slot_source.resize(num_slots);
    plan.slot_token.resize(num_slots);
    plan.slot_of_record.reserve(num_slots);
    // A counting sort keeps the order of the records, which is by source, then by row.
    for (int source = 0; source < num_ranks; ++source) {
        const Range of_source = counts.own_records(source);
        const auto first_row = static_cast<std::int32_t>(plan.row_offsets[source].begin);
        for (index_t i = of_source.begin; i < of_source.end; ++i) {
            const SlotRecord& record = records[i];
            const index_t local = check.local_number(record.expert);
            const index_t slot = next[check.chunk_of(source, local)][local]++;
            plan.slot_row[slot] = first_row + record.row;
            plan.slot_weight[slot] = record.weight;
            plan.slot_source[slot] = source;
            plan.slot_token[slot] = record.token;
            plan.slot_of_record.push_back(static_cast<std::int32_t>(slot));
        }
    }
    return plan;
}

const Offsets<LocalExpertAxis>& ReceivePlan::expert_offsets() const {
    SY_REQUIRE(chunks.size() == 1, "dispatch plan: slots in ", chunks.size(),
               " chunks where those of an expert have to follow each other");
    return chunks.front().experts;
}

std::string ReceivePlan::to_string() const {
    std::string text = concat("receive ", num_rows(), " rows, ", num_slots(),
                              " slots: ", list("row offsets", row_offsets.edges()), ", ");
    for (const SlotChunk& chunk : chunks) text += list("expert offsets", chunk.experts.edges()) + ", ";
    return text + list<std::int32_t>("rows", slot_row);
}

}  // namespace sy::comm
