#include "comm/exchange/relay_plan.hpp"

namespace sy::comm {
namespace {

/// Calls visit(row) for each row that records name, once each: those of a row follow each other.
template <class Visit>
void for_each_row(IndexedSpan<RecordAxis, const SlotRecord> records, Range range, Visit visit) {
    std::int32_t last = -1;
    for (index_t i = range.begin; i < range.end; ++i) {
        if (records[i].row == last) continue;
        last = records[i].row;
        visit(last);
    }
}

/// The members of a rank's unit, and through which of them rows of other units come and go.
class Members {
  public:
    Members(const Units& units, int rank) : units_(units), unit_(units.unit_of(rank)) {}

    std::span<const int> all() const { return units_.members_of(unit_); }
    int number_of(int rank) const { return units_.member_number(rank); }
    bool is_near(int source) const { return units_.unit_of(source) == unit_; }
    /// Whether rows of a source in another unit land at a member.
    bool lands(int source, int member_rank) const {
        return !is_near(source) && units_.gateway(source, unit_) == member_rank;
    }
    int gateway(int source) const { return units_.gateway(source, unit_); }
    int num_ranks() const { return units_.num_ranks(); }

  private:
    const Units& units_;
    int unit_;
};

void end_sent(Relay& relay, int rank, index_t first) {
    if (relay.row.size() > first) relay.sent.push_back({rank, {first, relay.row.size()}});
}

Relay relay_near_rows(const SendPlan& send, const UnitRecords& unit, const ReceivePlan& receive,
                      const Members& members, Range own_rows, int rank) {
    Relay relay;
    for (const int member : members.all()) {
        const bool keeps = member == rank;
        Indexed<RelayAxis, std::int32_t>& list = keeps ? relay.kept_row : relay.row;
        const index_t first = list.size();
        for_each_row(unit.records, unit.records_to(rank, members.number_of(member)),
                     [&](std::int32_t row) { list.push_back(send.row_token[own_rows.begin + row]); });
        if (!keeps) {
            end_sent(relay, member, first);
            const Range rows = receive.row_offsets[member];
            if (rows.size() > 0) relay.received.push_back({member, rows});
        } else if (list.size() > 0) {
            relay.kept.push_back({{0, list.size()}, receive.row_offsets[rank]});
        }
    }
    return relay;
}

Relay relay_far_rows(const UnitRecords& unit, const ReceivePlan& receive, const Members& members, int rank) {
    Relay relay;
    index_t landed = 0;
    // Messages between two members are in the order of the sources on both sides.
    for (int source = 0; source < members.num_ranks(); ++source) {
        if (members.is_near(source)) continue;
        const Range here = receive.row_offsets[source];
        if (!members.lands(source, rank)) {
            if (here.size() > 0) relay.received.push_back({members.gateway(source), here});
            continue;
        }
        for (const int member : members.all()) {
            const bool keeps = member == rank;
            Indexed<RelayAxis, std::int32_t>& list = keeps ? relay.kept_row : relay.row;
            const index_t first = list.size();
            for_each_row(unit.records, unit.records_to(source, members.number_of(member)),
                         [&](std::int32_t row) { list.push_back(narrow<std::int32_t>(landed + row)); });
            if (!keeps) {
                end_sent(relay, member, first);
            } else if (list.size() > first) {
                relay.kept.push_back({{first, list.size()}, here});
            }
        }
        landed += unit.counts.row_offsets()[source].size();
    }
    return relay;
}

/// Results to each member of the sources that `takes(source, member)` says, from this rank's slots to behind `end`.
template <class Takes>
Relay relay_results(const UnitRecords& unit, const ReceivePlan& receive, const Members& members, int rank,
                    const Takes& takes, RelayedResults& into, index_t& end) {
    Relay relay;
    for (const int member : members.all()) {
        if (member == rank) continue;
        const index_t first = relay.row.size();
        index_t record = 0;  // of this rank's, which are in the order of the sources
        const index_t begin = end;
        for (int source = 0; source < members.num_ranks(); ++source) {
            const index_t num_own = unit.counts.own_records(source).size();
            if (takes(source, member)) {
                for (index_t i = record; i < record + num_own; ++i)
                    relay.row.push_back(receive.slot_of_record[i]);
            }
            record += num_own;
            if (!takes(source, rank)) continue;
            const Range theirs = unit.records_to(source, members.number_of(member));
            for (index_t i = theirs.begin; i < theirs.end; ++i) into.places[i] = narrow<std::int32_t>(end++);
        }
        end_sent(relay, member, first);
        if (end > begin) relay.received.push_back({member, {begin, end}});
    }
    return relay;
}

}  // namespace

void keep_rows_read_here(const UnitCounts& counts, IndexedSpan<RecordAxis, const SlotRecord> records,
                         const Units& units, ReceivePlan& receive) {
    RankOffsets kept;
    index_t record = 0;
    for (int source = 0; source < units.num_ranks(); ++source) {
        const Range theirs = counts.own_records(source);
        const index_t first = kept.total();
        index_t num_rows = 0;
        for (index_t i = theirs.begin; i < theirs.end; ++i) {
            if (i == theirs.begin || records[i].row != records[i - 1].row) ++num_rows;
            receive.slot_row[receive.slot_of_record[record++]] = narrow<std::int32_t>(first + num_rows - 1);
        }
        kept.append(num_rows);
    }
    receive.row_offsets = std::move(kept);
}

Range UnitRecords::records_to(int source, int member) const {
    index_t begin = counts.records(source).begin;
    for (int before = 0; before < member; ++before) begin += announced(source, 1 + before);
    return {begin, begin + announced(source, 1 + member)};
}

RelayedResults make_relay_plan(const SendPlan& send, const UnitRecords& unit, const ReceivePlan& receive,
                               const Units& units, int rank) {
    const UnitCounts& counts = unit.counts;
    const Members members(units, rank);
    RelayedResults made;
    made.plan.near_rows =
        relay_near_rows(send, unit, receive, members, send.row_offsets[units.unit_of(rank)], rank);
    made.plan.far_rows = relay_far_rows(unit, receive, members, rank);
    made.places.assign(counts.num_records(), -1);
    index_t record = 0;
    for (int source = 0; source < members.num_ranks(); ++source) {
        const Range own = counts.own_records(source);
        for (index_t i = own.begin; i < own.end; ++i) made.places[i] = receive.slot_of_record[record++];
    }
    index_t end = receive.num_slots();
    made.layout.slots = {0, end};
    made.plan.far_results = relay_results(
        unit, receive, members, rank, [&](int source, int taker) { return members.lands(source, taker); },
        made, end);
    made.plan.near_results = relay_results(
        unit, receive, members, rank, [](int source, int taker) { return source == taker; }, made, end);
    const index_t num_returned = counts.returned_to(counts.member()).size();
    made.layout.num_slots = end;
    made.layout.returned = {end, end + num_returned};
    made.layout.num_results = end + num_returned;
    return made;
}

}  // namespace sy::comm
