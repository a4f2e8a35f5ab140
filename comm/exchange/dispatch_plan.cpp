#include "comm/exchange/dispatch_plan.hpp"

#include <algorithm>
#include <limits>

#include "kernels/core/host_view.hpp"

namespace sy::comm {
namespace {

constexpr std::int32_t kNothing = -1;

template <class T>
std::string list(const char* name, std::span<const T> values) {
    std::string text = concat(name, " [");
    for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 16); ++i)
        text += concat(i == 0 ? "" : " ", values[i]);
    return text + concat(values.size() > 16 ? " ...]" : "]");
}

/// Choices that the host reads: it plans.
struct HostChoices {
    MatrixView<const std::int32_t> expert;
    MatrixView<const float> weight;
    MatrixView<const std::uint8_t> kept;
    index_t first_token;
    index_t seq_len;
};

void check_shapes(const HostChoices& choices) {
    const index_t num_tokens = choices.expert.rows;
    const index_t top_k = choices.expert.cols;
    SY_REQUIRE(choices.weight.rows == num_tokens && choices.kept.rows == num_tokens &&
                   choices.weight.cols == top_k && choices.kept.cols == top_k,
               "dispatch plan: experts [", num_tokens, ", ", top_k, "], weights [", choices.weight.rows, ", ",
               choices.weight.cols, "], kept [", choices.kept.rows, ", ", choices.kept.cols, "]");
    SY_REQUIRE(choices.first_token >= 0 && choices.seq_len >= 1, "dispatch plan: sequences of ",
               choices.seq_len, " tokens from token ", choices.first_token);
    SY_REQUIRE(num_tokens * top_k <= std::numeric_limits<std::int32_t>::max(), "dispatch plan: ", num_tokens,
               " tokens with ", top_k, " choices each on one rank; use smaller micro-batches");
}

/// Where the choices of a source go.
class Destinations {
  public:
    Destinations(const HostChoices& choices, const Placement& placement, int source)
        : choices_(choices),
          placement_(placement),
          source_(source),
          rank_of_expert_(placement.num_experts()) {}

    /// Rank of each expert for token t.
    PerExpertSpan<const int> of_token(index_t t) {
        const index_t sequence =
            placement_.num_shadows() == 0 ? 0 : (choices_.first_token + t) / choices_.seq_len;
        if (sequence != sequence_) {
            sequence_ = sequence;
            for (index_t e = 0; e < rank_of_expert_.size(); ++e)
                rank_of_expert_[e] = placement_.rank_for(e, source_, sequence);
        }
        return rank_of_expert_;
    }

  private:
    const HostChoices& choices_;
    const Placement& placement_;
    int source_;
    PerExpert<int> rank_of_expert_;
    index_t sequence_ = kNothing;
};

/// Rows and slots to each rank, as offsets.
void count_rows(const HostChoices& choices, const Placement& placement, int group_rank, SendPlan& plan) {
    Destinations destinations(choices, placement, group_rank);
    PerRank<index_t> num_rows(placement.num_ranks(), 0);
    PerRank<index_t> num_slots(placement.num_ranks(), 0);
    PerRank<index_t> last_token(placement.num_ranks(), kNothing);
    for (index_t t = 0; t < choices.expert.rows; ++t) {
        const PerExpertSpan<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < choices.expert.cols; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            SY_REQUIRE(expert >= 0 && expert < placement.num_experts(), "dispatch plan: choice ", j,
                       " of token ", t, " is expert ", expert, " of ", placement.num_experts());
            const int rank = rank_of_expert[expert];
            ++num_slots[rank];
            if (last_token[rank] == t) continue;
            last_token[rank] = t;
            ++num_rows[rank];
        }
    }
    plan.row_offsets = RankOffsets::of_counts(num_rows);
    plan.slot_offsets = RankOffsets::of_counts(num_slots);
}

}  // namespace

SendPlan make_send_plan(const Choices& given, const Placement& placement, int group_rank,
                        ReturnRows return_rows) {
    const HostChoices choices{host<const std::int32_t>(given.expert), host<const float>(given.weight),
                              host<const std::uint8_t>(given.kept), given.first_token, given.seq_len};
    check_shapes(choices);
    const index_t num_tokens = choices.expert.rows;
    const index_t top_k = choices.expert.cols;
    SendPlan plan;
    count_rows(choices, placement, group_rank, plan);
    plan.row_token.resize(plan.num_rows());
    plan.slots.resize(plan.num_slots());
    plan.slot_of_choice.assign(num_tokens * top_k, kNothing);
    plan.return_offsets.reserve(num_tokens);
    plan.returns.reserve(return_rows == ReturnRows::per_rank ? plan.num_rows() : plan.num_slots());
    PerRank<index_t> next_row = plan.row_offsets.begins();
    PerRank<index_t> next_slot = plan.slot_offsets.begins();
    PerRank<index_t> last_token(placement.num_ranks(), kNothing);
    Destinations destinations(choices, placement, group_rank);
    // Tokens and choices in ascending order fill every destination in the order of SendPlan::slots, and the first
    // choice that a row carries opens it: so rows are listed for the return by their first choice.
    for (index_t t = 0; t < num_tokens; ++t) {
        const PerExpertSpan<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < top_k; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            const int rank = rank_of_expert[expert];
            const bool opens_row = last_token[rank] != t;
            if (opens_row) {
                last_token[rank] = t;
                plan.row_token[next_row[rank]++] = static_cast<std::int32_t>(t);
            }
            const index_t row = next_row[rank] - 1;
            const index_t slot = next_slot[rank]++;
            plan.slots[slot] = {static_cast<std::int32_t>(row - plan.row_offsets[rank].begin), expert,
                                static_cast<std::int32_t>(j), static_cast<std::int32_t>(t),
                                choices.weight(t, j)};
            plan.slot_of_choice[t * top_k + j] = static_cast<std::int32_t>(slot);
            if (return_rows == ReturnRows::per_choice) {
                plan.returns.push_back(static_cast<std::int32_t>(slot));
            } else if (opens_row) {
                plan.returns.push_back(static_cast<std::int32_t>(row));
            }
        }
        plan.return_offsets.append(plan.returns.size() - plan.return_offsets.total());
    }
    return plan;
}

namespace {

[[noreturn]] void refuse_record(index_t source, index_t record_idx, const SlotRecord& record, const char* why,
                                const Placement& placement) {
    throw CommError(concat("dispatch plan: rank ", source, " sent record ", record_idx, " (row ", record.row,
                           ", expert ", record.expert, ", choice ", record.choice, ", token ", record.token,
                           "): ", why, "; the placement here is ", placement.to_string()));
}

/// Why `record` cannot follow `last` among the records of one source, or null. Rows come without gaps, tokens
/// ascend with the rows, and choices ascend inside a row.
const char* order_problem(const SlotRecord& last, const SlotRecord& record) {
    if (record.row < 0) return "no such row";
    if (record.row == last.row) {
        if (record.token != last.token) return "another token in the same row";
        return record.choice > last.choice ? nullptr : "choices of a row must ascend";
    }
    if (record.row != last.row + 1) return "rows must follow each other";
    if (record.choice < 0) return "no such choice";
    return record.token > last.token ? nullptr : "tokens must ascend";
}

/// What each rank announces, before it is believed.
struct Announced {
    std::span<const index_t> row_offsets;
    std::span<const index_t> slot_offsets;
};

void check_counts(const Announced& announced, index_t num_records, int num_ranks) {
    const auto& [row_offsets, slot_offsets] = announced;
    const auto num_offsets = static_cast<std::size_t>(num_ranks) + 1;
    SY_REQUIRE(row_offsets.size() == num_offsets && slot_offsets.size() == num_offsets &&
                   row_offsets.front() == 0 && slot_offsets.front() == 0,
               "dispatch plan: ", row_offsets.size(), " row and ", slot_offsets.size(), " slot offsets for ",
               num_ranks, " ranks");
    for (int source = 0; source < num_ranks; ++source) {
        const index_t rows = group_of(row_offsets, source).size();
        const index_t slots = group_of(slot_offsets, source).size();
        if (rows < 0 || slots < rows || (rows == 0 && slots > 0))
            throw CommError(concat("dispatch plan: rank ", source, " announced ", rows, " rows with ", slots,
                                   " records"));
    }
    SY_REQUIRE(num_records == slot_offsets.back(), "dispatch plan: ", num_records, " records, ",
               slot_offsets.back(), " announced");
    SY_REQUIRE(slot_offsets.back() <= std::numeric_limits<std::int32_t>::max(),
               "dispatch plan: ", num_records,
               " records arrive at one rank; use smaller micro-batches or more ranks");
}

/// Local number of each expert, or kNothing.
PerExpert<index_t> local_numbers(const Indexed<LocalExpertAxis, index_t>& local_experts,
                                 index_t num_experts) {
    PerExpert<index_t> numbers(num_experts, kNothing);
    for (index_t local = 0; local < local_experts.size(); ++local) numbers[local_experts[local]] = local;
    return numbers;
}

/// Checks every record and counts: slots of each expert, slots of each row.
void count_records(IndexedSpan<RecordAxis, const SlotRecord> records, const Placement& placement,
                   const PerExpert<index_t>& local_number, index_t num_local, ReceivePlan& plan) {
    Indexed<LocalExpertAxis, index_t> num_of_expert(num_local, 0);
    PerRow<index_t> num_of_row(plan.num_rows(), 0);
    for (index_t source = 0; source < plan.slot_offsets.num_groups(); ++source) {
        const Range slots = plan.slot_offsets[source];
        const Range rows = plan.row_offsets[source];
        SlotRecord last{kNothing, 0, kNothing, kNothing, 0.0F};
        for (index_t i = slots.begin; i < slots.end; ++i) {
            const SlotRecord& record = records[i];
            const auto refuse = [&](const char* why) {
                refuse_record(source, i - slots.begin, record, why, placement);
            };
            if (record.expert < 0 || record.expert >= placement.num_experts()) refuse("no such expert");
            if (local_number[record.expert] == kNothing) refuse("the expert is not here");
            if (const char* problem = order_problem(last, record)) refuse(problem);
            if (record.row >= rows.size()) refuse("more rows than announced");
            ++num_of_expert[local_number[record.expert]];
            ++num_of_row[rows.begin + record.row];
            last = record;
        }
        if (last.row + 1 != rows.size())
            throw CommError(concat("dispatch plan: rank ", source, " announced ", rows.size(),
                                   " rows, its records name ", last.row + 1));
    }
    plan.expert_offsets = Offsets<LocalExpertAxis>::of_counts(num_of_expert);
    plan.row_slot_offsets = Offsets<RowAxis>::of_counts(num_of_row);
}

}  // namespace

ReceivePlan make_receive_plan(std::span<const index_t> row_offsets, std::span<const index_t> slot_offsets,
                              IndexedSpan<RecordAxis, const SlotRecord> records, const Placement& placement,
                              int group_rank) {
    check_counts({row_offsets, slot_offsets}, records.size(), placement.num_ranks());
    ReceivePlan plan;
    plan.row_offsets = RankOffsets({row_offsets.begin(), row_offsets.end()});
    plan.slot_offsets = RankOffsets({slot_offsets.begin(), slot_offsets.end()});
    const Indexed<LocalExpertAxis, index_t> local_experts = placement.experts_of(group_rank);
    const PerExpert<index_t> local_number = local_numbers(local_experts, placement.num_experts());
    count_records(records, placement, local_number, local_experts.size(), plan);
    Indexed<LocalExpertAxis, index_t> next = plan.expert_offsets.begins();
    plan.slot_row.resize(records.size());
    plan.slot_weight.resize(records.size());
    plan.slot_source.resize(records.size());
    plan.slot_token.resize(records.size());
    plan.slot_of_record.resize(records.size());
    // A counting sort by expert keeps the order of the records, which is by source, then by row.
    for (int source = 0; source < placement.num_ranks(); ++source) {
        const Range slots = plan.slot_offsets[source];
        const auto first_row = static_cast<std::int32_t>(plan.row_offsets[source].begin);
        for (index_t i = slots.begin; i < slots.end; ++i) {
            const SlotRecord& record = records[i];
            const index_t slot = next[local_number[record.expert]]++;
            plan.slot_row[slot] = first_row + record.row;
            plan.slot_weight[slot] = record.weight;
            plan.slot_source[slot] = source;
            plan.slot_token[slot] = record.token;
            plan.slot_of_record[i] = static_cast<std::int32_t>(slot);
        }
    }
    return plan;
}

std::string SendPlan::to_string() const {
    return concat("send ", num_rows(), " rows, ", num_slots(),
                  " slots: ", list("row offsets", row_offsets.edges()), ", ",
                  list("slot offsets", slot_offsets.edges()), ", ", list<std::int32_t>("tokens", row_token));
}

std::string ReceivePlan::to_string() const {
    return concat("receive ", num_rows(), " rows, ", num_slots(),
                  " slots: ", list("row offsets", row_offsets.edges()), ", ",
                  list("expert offsets", expert_offsets.edges()), ", ", list<std::int32_t>("rows", slot_row));
}

std::string DispatchPlan::to_string() const {
    return concat(send.to_string(), "\n", receive.to_string(), "\nreturn ",
                  return_rows == ReturnRows::per_rank ? "a row per rank" : "a row per choice");
}

}  // namespace sy::comm
