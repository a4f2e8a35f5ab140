#include "comm/exchange/return_plan.hpp"

#include <algorithm>

namespace sy::comm {
namespace {

/// Lists the slots of the rows of one source by ascending choice, whichever member has them.
void add_source(int source, Range of_source, index_t num_rows,
                IndexedSpan<RecordAxis, const SlotRecord> records,
                IndexedSpan<RecordAxis, const std::int32_t> places, GatewayPlan& plan) {
    PerRow<index_t> num_slots(num_rows, 0);
    for (index_t i = of_source.begin; i < of_source.end; ++i) ++num_slots[records[i].row];
    const index_t first = plan.row_slots.size();
    PerRow<index_t> begin(num_rows);
    index_t end = first;
    for (index_t row = 0; row < num_rows; ++row) {
        if (num_slots[row] == 0)
            throw CommError(concat("dispatch plan: rank ", source, " announced ", num_rows,
                                   " rows, its records leave out row ", row));
        begin[row] = end;
        end += num_slots[row];
        plan.row_slot_offsets.append(num_slots[row]);
    }
    plan.row_slots.resize(end);
    // Each member's records of a row ascend already: an insertion sort moves little.
    PerRow<index_t> next = begin;
    Indexed<ReturnAxis, std::int32_t> choice_of(end - first);
    for (index_t i = of_source.begin; i < of_source.end; ++i) {
        const SlotRecord& record = records[i];
        index_t place = next[record.row]++;
        for (; place > begin[record.row] && choice_of[place - 1 - first] > record.choice; --place) {
            choice_of[place - first] = choice_of[place - 1 - first];
            plan.row_slots[place] = plan.row_slots[place - 1];
        }
        choice_of[place - first] = record.choice;
        plan.row_slots[place] = places[i];
        plan.slot_of_record.push_back(places[i]);
    }
}

}  // namespace

GatewayPlan make_gateway_plan(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                              IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units,
                              int rank) {
    GatewayPlan plan;
    const int unit = units.unit_of(rank);
    for (int source = 0; source < units.num_ranks(); ++source) {
        const bool mine = units.unit_of(source) != unit && units.gateway(source, unit) == rank;
        const index_t num_rows = mine ? counts.row_offsets()[source].size() : 0;
        plan.row_offsets.append(num_rows);
        plan.slot_offsets.append(mine ? counts.records(source).size() : 0);
        if (mine) add_source(source, counts.records(source), num_rows, records, places, plan);
    }
    return plan;
}

index_t num_returned(const SendPlan& send, const Units& units, int rank, ReturnRows return_rows) {
    const int unit = units.unit_of(rank);
    return return_rows == ReturnRows::per_unit ? send.num_rows() - send.row_offsets[unit].size()
                                               : send.num_slots() - send.slots_to(units, unit).size();
}

ReturnPlan make_return_plan(const SendPlan& send, const UnitCounts& counts,
                            IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units, int rank,
                            ReturnRows return_rows) {
    const int member = units.member_number(rank);
    const ResultLayout layout{counts.slots_of(member), counts.returned_to(member), counts.num_records(),
                              counts.num_results()};
    return make_return_plan(send, layout, places.part(counts.records(rank)), units, rank, return_rows);
}

ReturnPlan make_return_plan(const SendPlan& send, const ResultLayout& layout,
                            IndexedSpan<RecordAxis, const std::int32_t> places, const Units& units, int rank,
                            ReturnRows return_rows) {
    const int unit = units.unit_of(rank);
    const Range own_rows = send.row_offsets[unit];
    const Range own_slots = send.slots_to(units, unit);
    ReturnPlan plan;
    plan.slots = layout.slots;
    plan.returned = layout.returned;
    plan.num_slots_of_unit = layout.num_slots;
    plan.num_results = layout.num_results;
    plan.slot_of_choice.assign(send.slot_of_choice.size(), -1);
    plan.offsets.reserve(send.num_tokens);
    // What other units get has gaps where this rank's own rows and slots are.
    const auto behind = [](index_t idx, Range own) { return idx < own.begin ? idx : idx - own.size(); };
    for (index_t t = 0; t < send.num_tokens; ++t) {
        const index_t first = plan.rows.size();
        bool others_read = false;
        for (index_t choice = t * send.top_k(); choice < (t + 1) * send.top_k(); ++choice) {
            const index_t slot = send.slot_of_choice[choice];
            if (slot < 0) continue;
            if (slot >= own_slots.begin && slot < own_slots.end) {
                const std::int32_t place = places[slot - own_slots.begin];
                plan.slot_of_choice[choice] = place;
                plan.rows.push_back(place);
                if (place >= plan.slots.begin && place < plan.slots.end) continue;
                ++plan.slots_of_others;
                others_read = true;
                continue;
            }
            plan.slot_of_choice[choice] =
                static_cast<std::int32_t>(layout.num_slots + behind(slot, own_slots));
            const index_t returned = return_rows == ReturnRows::per_unit
                                         ? behind(send.slot_row[slot], own_rows)
                                         : behind(slot, own_slots);
            const auto row = static_cast<std::int32_t>(plan.returned.begin + returned);
            // A row comes back once, at the first choice that it carries.
            if (std::find(plan.rows.begin() + first, plan.rows.end(), row) == plan.rows.end())
                plan.rows.push_back(row);
        }
        if (others_read) ++plan.rows_of_others;
        plan.offsets.append(plan.rows.size() - first);
    }
    return plan;
}

}  // namespace sy::comm
