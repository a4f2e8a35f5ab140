#include "comm/exchange/dispatch_plan.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace sy::comm {
namespace {

constexpr std::int32_t kNothing = -1;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

template <class T>
std::string list(const char* name, const std::vector<T>& values) {
    std::string text = concat(name, " [");
    for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 16); ++i)
        text += concat(i == 0 ? "" : " ", values[i]);
    return text + concat(values.size() > 16 ? " ...]" : "]");
}

/// Counts in places 1 .. n become offsets.
void accumulate_offsets(std::vector<index_t>& offsets) {
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
}

/// Where the next entry of each group goes.
std::vector<index_t> group_begins(const std::vector<index_t>& offsets) {
    return {offsets.begin(), offsets.end() - 1};
}

void check_shapes(const Choices& choices) {
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
    Destinations(const Choices& choices, const Placement& placement, int source)
        : choices_(choices),
          placement_(placement),
          source_(source),
          rank_of_expert_(at(placement.num_experts())) {}

    /// Rank of each expert for token t.
    std::span<const int> of_token(index_t t) {
        const index_t sequence =
            placement_.num_shadows() == 0 ? 0 : (choices_.first_token + t) / choices_.seq_len;
        if (sequence != sequence_) {
            sequence_ = sequence;
            for (std::size_t e = 0; e < rank_of_expert_.size(); ++e)
                rank_of_expert_[e] = placement_.rank_for(static_cast<index_t>(e), source_, sequence);
        }
        return rank_of_expert_;
    }

  private:
    const Choices& choices_;
    const Placement& placement_;
    int source_;
    std::vector<int> rank_of_expert_;
    index_t sequence_ = kNothing;
};

/// Rows and slots to each rank, as offsets.
void count_rows(const Choices& choices, const Placement& placement, int group_rank, SendPlan& plan) {
    Destinations destinations(choices, placement, group_rank);
    plan.row_offsets.assign(at(placement.num_ranks() + 1), 0);
    plan.slot_offsets.assign(at(placement.num_ranks() + 1), 0);
    std::vector<index_t> last_token(at(placement.num_ranks()), kNothing);
    for (index_t t = 0; t < choices.expert.rows; ++t) {
        const std::span<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < choices.expert.cols; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            SY_REQUIRE(expert >= 0 && expert < placement.num_experts(), "dispatch plan: choice ", j,
                       " of token ", t, " is expert ", expert, " of ", placement.num_experts());
            const auto rank = at(rank_of_expert[at(expert)]);
            ++plan.slot_offsets[rank + 1];
            if (last_token[rank] == t) continue;
            last_token[rank] = t;
            ++plan.row_offsets[rank + 1];
        }
    }
    accumulate_offsets(plan.row_offsets);
    accumulate_offsets(plan.slot_offsets);
}

}  // namespace

SendPlan make_send_plan(const Choices& choices, const Placement& placement, int group_rank,
                        ReturnRows return_rows) {
    check_shapes(choices);
    const index_t num_tokens = choices.expert.rows;
    const index_t top_k = choices.expert.cols;
    SendPlan plan;
    count_rows(choices, placement, group_rank, plan);
    plan.row_token.resize(at(plan.num_rows()));
    plan.slots.resize(at(plan.num_slots()));
    plan.slot_of_choice.assign(at(num_tokens * top_k), kNothing);
    plan.return_offsets.reserve(at(num_tokens + 1));
    plan.return_offsets.push_back(0);
    plan.returns.reserve(at(return_rows == ReturnRows::per_rank ? plan.num_rows() : plan.num_slots()));
    std::vector<index_t> next_row = group_begins(plan.row_offsets);
    std::vector<index_t> next_slot = group_begins(plan.slot_offsets);
    std::vector<index_t> last_token(next_row.size(), kNothing);
    Destinations destinations(choices, placement, group_rank);
    // Tokens and choices in ascending order fill every destination in the order of SendPlan::slots, and the first
    // choice that a row carries opens it: so rows are listed for the return by their first choice.
    for (index_t t = 0; t < num_tokens; ++t) {
        const std::span<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < top_k; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            const auto rank = at(rank_of_expert[at(expert)]);
            const bool opens_row = last_token[rank] != t;
            if (opens_row) {
                last_token[rank] = t;
                plan.row_token[at(next_row[rank]++)] = static_cast<std::int32_t>(t);
            }
            const index_t row = next_row[rank] - 1;
            const index_t slot = next_slot[rank]++;
            plan.slots[at(slot)] = {static_cast<std::int32_t>(row - plan.row_offsets[rank]), expert,
                                    static_cast<std::int32_t>(j), static_cast<std::int32_t>(t),
                                    choices.weight(t, j)};
            plan.slot_of_choice[at(t * top_k + j)] = static_cast<std::int32_t>(slot);
            if (return_rows == ReturnRows::per_choice) {
                plan.returns.push_back(static_cast<std::int32_t>(slot));
            } else if (opens_row) {
                plan.returns.push_back(static_cast<std::int32_t>(row));
            }
        }
        plan.return_offsets.push_back(static_cast<index_t>(plan.returns.size()));
    }
    return plan;
}

namespace {

[[noreturn]] void refuse_record(std::size_t source, index_t record_idx, const SlotRecord& record,
                                const char* why, const Placement& placement) {
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

void check_counts(const ReceivePlan& plan, std::size_t num_records, int num_ranks) {
    SY_REQUIRE(plan.row_offsets.size() == at(num_ranks) + 1 &&
                   plan.slot_offsets.size() == at(num_ranks) + 1 && plan.row_offsets.front() == 0 &&
                   plan.slot_offsets.front() == 0,
               "dispatch plan: ", plan.row_offsets.size(), " row and ", plan.slot_offsets.size(),
               " slot offsets for ", num_ranks, " ranks");
    for (std::size_t source = 0; source < at(num_ranks); ++source) {
        const index_t rows = plan.row_offsets[source + 1] - plan.row_offsets[source];
        const index_t slots = plan.slot_offsets[source + 1] - plan.slot_offsets[source];
        if (rows < 0 || slots < rows || (rows == 0 && slots > 0))
            throw CommError(concat("dispatch plan: rank ", source, " announced ", rows, " rows with ", slots,
                                   " records"));
    }
    SY_REQUIRE(static_cast<index_t>(num_records) == plan.slot_offsets.back(), "dispatch plan: ", num_records,
               " records, ", plan.slot_offsets.back(), " announced");
    SY_REQUIRE(plan.slot_offsets.back() <= std::numeric_limits<std::int32_t>::max(),
               "dispatch plan: ", num_records,
               " records arrive at one rank; use smaller micro-batches or more ranks");
}

/// Local number of each expert, or kNothing.
std::vector<index_t> local_numbers(std::span<const index_t> local_experts, index_t num_experts) {
    std::vector<index_t> numbers(at(num_experts), kNothing);
    for (std::size_t l = 0; l < local_experts.size(); ++l)
        numbers[at(local_experts[l])] = static_cast<index_t>(l);
    return numbers;
}

/// Checks every record and counts: slots of each expert, slots of each row.
void count_records(std::span<const SlotRecord> records, const Placement& placement,
                   std::span<const index_t> local_number, ReceivePlan& plan) {
    for (std::size_t source = 0; source + 1 < plan.slot_offsets.size(); ++source) {
        const index_t first = plan.slot_offsets[source];
        SlotRecord last{kNothing, 0, kNothing, kNothing, 0.0F};
        for (index_t i = first; i < plan.slot_offsets[source + 1]; ++i) {
            const SlotRecord& record = records[at(i)];
            if (record.expert < 0 || record.expert >= placement.num_experts())
                refuse_record(source, i - first, record, "no such expert", placement);
            if (local_number[at(record.expert)] == kNothing)
                refuse_record(source, i - first, record, "the expert is not here", placement);
            if (const char* problem = order_problem(last, record))
                refuse_record(source, i - first, record, problem, placement);
            const index_t row = plan.row_offsets[source] + record.row;
            if (row >= plan.row_offsets[source + 1])
                refuse_record(source, i - first, record, "more rows than announced", placement);
            ++plan.expert_offsets[at(local_number[at(record.expert)]) + 1];
            ++plan.row_slot_offsets[at(row) + 1];
            last = record;
        }
        if (plan.row_offsets[source] + last.row + 1 != plan.row_offsets[source + 1])
            throw CommError(concat("dispatch plan: rank ", source, " announced ",
                                   plan.row_offsets[source + 1] - plan.row_offsets[source],
                                   " rows, its records name ", last.row + 1));
    }
    accumulate_offsets(plan.expert_offsets);
    accumulate_offsets(plan.row_slot_offsets);
}

}  // namespace

ReceivePlan make_receive_plan(std::span<const index_t> row_offsets, std::span<const index_t> slot_offsets,
                              std::span<const SlotRecord> records, const Placement& placement,
                              int group_rank) {
    ReceivePlan plan;
    plan.row_offsets.assign(row_offsets.begin(), row_offsets.end());
    plan.slot_offsets.assign(slot_offsets.begin(), slot_offsets.end());
    check_counts(plan, records.size(), placement.num_ranks());
    const std::vector<index_t> local_experts = placement.experts_of(group_rank);
    const std::vector<index_t> local_number = local_numbers(local_experts, placement.num_experts());
    plan.expert_offsets.assign(local_experts.size() + 1, 0);
    plan.row_slot_offsets.assign(at(plan.num_rows() + 1), 0);
    count_records(records, placement, local_number, plan);
    std::vector<index_t> next = group_begins(plan.expert_offsets);
    plan.slot_row.resize(records.size());
    plan.slot_weight.resize(records.size());
    plan.slot_source.resize(records.size());
    plan.slot_token.resize(records.size());
    plan.slot_of_record.resize(records.size());
    // A counting sort by expert keeps the order of the records, which is by source, then by row.
    for (std::size_t source = 0; source + 1 < slot_offsets.size(); ++source) {
        const auto first_row = static_cast<std::int32_t>(row_offsets[source]);
        for (index_t i = slot_offsets[source]; i < slot_offsets[source + 1]; ++i) {
            const SlotRecord& record = records[at(i)];
            const index_t slot = next[at(local_number[at(record.expert)])]++;
            plan.slot_row[at(slot)] = first_row + record.row;
            plan.slot_weight[at(slot)] = record.weight;
            plan.slot_source[at(slot)] = static_cast<std::int32_t>(source);
            plan.slot_token[at(slot)] = record.token;
            plan.slot_of_record[at(i)] = static_cast<std::int32_t>(slot);
        }
    }
    return plan;
}

std::string SendPlan::to_string() const {
    return concat("send ", num_rows(), " rows, ", num_slots(), " slots: ", list("row offsets", row_offsets),
                  ", ", list("slot offsets", slot_offsets), ", ", list("tokens", row_token));
}

std::string ReceivePlan::to_string() const {
    return concat("receive ", num_rows(), " rows, ", num_slots(),
                  " slots: ", list("row offsets", row_offsets), ", ", list("expert offsets", expert_offsets),
                  ", ", list("rows", slot_row));
}

std::string DispatchPlan::to_string() const {
    return concat(send.to_string(), "\n", receive.to_string(), "\nreturn ",
                  return_rows == ReturnRows::per_rank ? "a row per rank" : "a row per choice");
}

}  // namespace sy::comm
