#include "comm/exchange/dispatch_plan.hpp"

#include <algorithm>
#include <numeric>

namespace sy::comm {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

template <class T>
std::string list(const char* name, const std::vector<T>& values) {
    std::string text = concat(name, " [");
    for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 16); ++i)
        text += concat(i == 0 ? "" : " ", values[i]);
    return text + concat(values.size() > 16 ? " ..." : "", "] ");
}

/// One kept choice of a token.
struct Kept {
    int rank;
    std::int32_t expert;
    std::int32_t choice;
    float weight;
};

/// The kept choices of token t, by destination rank, then by choice (stable for the few there are).
index_t kept_choices(const Choices& choices, const Placement& placement, index_t t, std::vector<Kept>& kept) {
    kept.clear();
    for (index_t j = 0; j < choices.expert.cols; ++j) {
        if (choices.kept(t, j) == 0) continue;
        const std::int32_t expert = choices.expert(t, j);
        SY_REQUIRE(expert >= 0 && expert < placement.num_experts(), "dispatch plan: token ", t,
                   " chose expert ", expert, " of ", placement.num_experts());
        const Kept entry{placement.rank_of(expert), expert, static_cast<std::int32_t>(j),
                         choices.weight(t, j)};
        auto place = kept.end();
        while (place != kept.begin() && std::prev(place)->rank > entry.rank) --place;
        kept.insert(place, entry);
    }
    return static_cast<index_t>(kept.size());
}

/// Rows and slots to each rank, as offsets.
void count_rows(const Choices& choices, const Placement& placement, SendPlan& plan) {
    plan.row_offsets.assign(at(placement.num_ranks() + 1), 0);
    plan.slot_offsets.assign(at(placement.num_ranks() + 1), 0);
    std::vector<index_t> last_token(at(placement.num_ranks()), -1);
    for (index_t t = 0; t < choices.expert.rows; ++t) {
        for (index_t j = 0; j < choices.expert.cols; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const auto rank = at(placement.rank_of(choices.expert(t, j)));
            ++plan.slot_offsets[rank + 1];
            if (last_token[rank] == t) continue;
            last_token[rank] = t;
            ++plan.row_offsets[rank + 1];
        }
    }
    std::partial_sum(plan.row_offsets.begin(), plan.row_offsets.end(), plan.row_offsets.begin());
    std::partial_sum(plan.slot_offsets.begin(), plan.slot_offsets.end(), plan.slot_offsets.begin());
}

/// What comes back for a token and the choice that decides its place in the sum.
struct Return {
    std::int32_t choice;
    std::int32_t position;
};

}  // namespace

SendPlan make_send_plan(const Choices& choices, const Placement& placement, ReturnRows return_rows) {
    const index_t num_tokens = choices.expert.rows;
    const index_t top_k = choices.expert.cols;
    SY_REQUIRE(choices.weight.rows == num_tokens && choices.kept.rows == num_tokens &&
                   choices.weight.cols == top_k && choices.kept.cols == top_k,
               "dispatch plan: experts [", num_tokens, ", ", top_k, "], weights [", choices.weight.rows, ", ",
               choices.weight.cols, "], kept [", choices.kept.rows, ", ", choices.kept.cols, "]");
    SendPlan plan;
    count_rows(choices, placement, plan);
    plan.row_token.resize(at(plan.num_rows()));
    plan.slots.resize(at(plan.num_slots()));
    plan.slot_of_choice.assign(at(num_tokens * top_k), -1);
    plan.return_offsets.reserve(at(num_tokens + 1));
    plan.return_offsets.push_back(0);
    plan.returns.reserve(at(return_rows == ReturnRows::per_rank ? plan.num_rows() : plan.num_slots()));
    std::vector<index_t> next_row(plan.row_offsets.begin(), plan.row_offsets.end() - 1);
    std::vector<index_t> next_slot(plan.slot_offsets.begin(), plan.slot_offsets.end() - 1);
    std::vector<Kept> kept;
    std::vector<Return> returns;
    for (index_t t = 0; t < num_tokens; ++t) {
        const index_t num_kept = kept_choices(choices, placement, t, kept);
        returns.clear();
        for (index_t i = 0; i < num_kept; ++i) {
            const Kept& entry = kept[at(i)];
            const auto rank = at(entry.rank);
            const bool new_row = i == 0 || kept[at(i - 1)].rank != entry.rank;
            if (new_row) plan.row_token[at(next_row[rank]++)] = static_cast<std::int32_t>(t);
            const index_t row = next_row[rank] - 1;
            const index_t slot = next_slot[rank]++;
            plan.slots[at(slot)] = {static_cast<std::int32_t>(row - plan.row_offsets[rank]), entry.expert,
                                    entry.choice, static_cast<std::int32_t>(t), entry.weight};
            plan.slot_of_choice[at(t * top_k + entry.choice)] = static_cast<std::int32_t>(slot);
            if (return_rows == ReturnRows::per_choice) {
                returns.push_back({entry.choice, static_cast<std::int32_t>(slot)});
            } else if (new_row) {
                returns.push_back({entry.choice, static_cast<std::int32_t>(row)});
            }
        }
        std::sort(returns.begin(), returns.end(),
                  [](const Return& a, const Return& b) { return a.choice < b.choice; });
        for (const Return& entry : returns) plan.returns.push_back(entry.position);
        plan.return_offsets.push_back(static_cast<index_t>(plan.returns.size()));
    }
    return plan;
}

namespace {

/// Fills expert_offsets and checks every record. @return local expert of each record
std::vector<std::int32_t> check_records(std::span<const SlotRecord> records, const Placement& placement,
                                        int group_rank, ReceivePlan& plan) {
    const auto num_local = static_cast<index_t>(placement.experts_of(group_rank).size());
    plan.expert_offsets.assign(at(num_local + 1), 0);
    std::vector<std::int32_t> local(records.size());
    for (std::size_t source = 0; source + 1 < plan.slot_offsets.size(); ++source) {
        const index_t rows = plan.row_offsets[source + 1] - plan.row_offsets[source];
        for (index_t i = plan.slot_offsets[source]; i < plan.slot_offsets[source + 1]; ++i) {
            const SlotRecord& record = records[at(i)];
            if (record.expert < 0 || record.expert >= placement.num_experts() ||
                placement.rank_of(record.expert) != group_rank || record.row < 0 || record.row >= rows) {
                throw CommError(concat("dispatch plan: rank ", source, " sent record ",
                                       i - plan.slot_offsets[source], " for expert ", record.expert, ", row ",
                                       record.row, " of ", rows, " to rank ", group_rank,
                                       ", which does not fit: ", placement.to_string()));
            }
            local[at(i)] = static_cast<std::int32_t>(placement.local_index(record.expert));
            ++plan.expert_offsets[at(local[at(i)]) + 1];
        }
    }
    std::partial_sum(plan.expert_offsets.begin(), plan.expert_offsets.end(), plan.expert_offsets.begin());
    return local;
}

/// The slots of each received row in the order of the records: ascending choice.
void list_row_slots(std::span<const index_t> row_of_record, ReceivePlan& plan) {
    plan.row_slot_offsets.assign(at(plan.num_rows() + 1), 0);
    for (const index_t row : row_of_record) ++plan.row_slot_offsets[at(row) + 1];
    std::partial_sum(plan.row_slot_offsets.begin(), plan.row_slot_offsets.end(),
                     plan.row_slot_offsets.begin());
    std::vector<index_t> next(plan.row_slot_offsets.begin(), plan.row_slot_offsets.end() - 1);
    plan.row_slots.resize(row_of_record.size());
    for (std::size_t i = 0; i < row_of_record.size(); ++i) {
        plan.row_slots[at(next[at(row_of_record[i])]++)] = plan.slot_of_record[i];
    }
}

}  // namespace

ReceivePlan make_receive_plan(std::span<const index_t> row_offsets, std::span<const index_t> slot_offsets,
                              std::span<const SlotRecord> records, const Placement& placement,
                              int group_rank) {
    ReceivePlan plan;
    plan.row_offsets.assign(row_offsets.begin(), row_offsets.end());
    plan.slot_offsets.assign(slot_offsets.begin(), slot_offsets.end());
    SY_REQUIRE(static_cast<index_t>(records.size()) == slot_offsets.back(), "dispatch plan: ", records.size(),
               " records, ", slot_offsets.back(), " announced");
    const std::vector<std::int32_t> local = check_records(records, placement, group_rank, plan);
    std::vector<index_t> next(plan.expert_offsets.begin(), plan.expert_offsets.end() - 1);
    plan.slot_row.resize(records.size());
    plan.slot_weight.resize(records.size());
    plan.slot_source.resize(records.size());
    plan.slot_token.resize(records.size());
    plan.slot_of_record.resize(records.size());
    std::vector<index_t> row_of_record(records.size());
    // A counting sort by expert keeps the order of the records, which is by source, then by row.
    for (std::size_t source = 0; source + 1 < slot_offsets.size(); ++source) {
        for (index_t i = slot_offsets[source]; i < slot_offsets[source + 1]; ++i) {
            const SlotRecord& record = records[at(i)];
            const index_t slot = next[at(local[at(i)])]++;
            row_of_record[at(i)] = row_offsets[source] + record.row;
            plan.slot_row[at(slot)] = narrow<std::int32_t>(row_of_record[at(i)]);
            plan.slot_weight[at(slot)] = record.weight;
            plan.slot_source[at(slot)] = static_cast<std::int32_t>(source);
            plan.slot_token[at(slot)] = record.token;
            plan.slot_of_record[at(i)] = static_cast<std::int32_t>(slot);
        }
    }
    list_row_slots(row_of_record, plan);
    return plan;
}

std::string SendPlan::to_string() const {
    return concat("send ", num_rows(), " rows, ", num_slots(), " slots: ", list("row offsets", row_offsets),
                  list("tokens", row_token));
}

std::string ReceivePlan::to_string() const {
    return concat("receive ", num_rows(), " rows, ", num_slots(),
                  " slots: ", list("row offsets", row_offsets), list("expert offsets", expert_offsets),
                  list("rows", slot_row));
}

}  // namespace sy::comm
