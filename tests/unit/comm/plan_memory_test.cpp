// How much memory a rank's plan holds on up to 4096 ranks, none of which runs: what the allocator has handed out for it grows
// with the rows that the rank sends and receives and with the ranks, not with their product. T tokens and K choices of a rank,
// P ranks, M ranks of a node.
#include <catch2/catch.hpp>

#include <malloc.h>

#include "comm/exchange/relay_plan.hpp"
#include "comm/ucx/record.hpp"
#include "kernels/core/host_view.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kAllocatorCounts = false;
#else
constexpr bool kAllocatorCounts = true;
#endif

constexpr index_t kTokens = 256;
constexpr index_t kTopK = 4;

/// Bytes that this process has from the allocator.
index_t allocated_bytes() {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<index_t>(info.uordblks + info.hblkhd);
}

/// The choices of a rank's tokens: four experts a token, spread over all ranks, an expert to each.
struct RankChoices {
    RankChoices(int rank, int num_ranks) : weight(at(kTokens * kTopK), 0.25F), kept(at(kTokens * kTopK), 1) {
        for (index_t i = 0; i < kTokens * kTopK; ++i) {
            const index_t token = i / kTopK;
            const index_t first = (rank * 7919 + token * 104729) % num_ranks;
            expert.push_back(
                static_cast<std::int32_t>((first + i % kTopK * (num_ranks / kTopK)) % num_ranks));
        }
    }
    static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
    Choices choices() const {
        return {.expert = MatrixView<const std::int32_t>(expert.data(), kTokens, kTopK),
                .weight = MatrixView<const float>(weight.data(), kTokens, kTopK),
                .kept = MatrixView<const std::uint8_t>(kept.data(), kTokens, kTopK)};
    }
    std::vector<std::int32_t> expert;
    std::vector<float> weight;
    std::vector<std::uint8_t> kept;
};

/// What the ranks send to the unit of rank 0, as its members see it: shared by them.
struct Announced {
    std::vector<index_t> counts;  ///< [P, 1 + M]
    Indexed<RecordAxis, SlotRecord> records;
    std::vector<index_t> returned;  ///< [M]
    index_t num_members = 0;

    MatrixView<const index_t> table() const {
        return {counts.data(), std::ssize(counts) / (1 + num_members), 1 + num_members};
    }
    UnitCounts of_member(int member) const { return UnitCounts(table(), returned, member); }
};

Announced announce(const Placement& placement, const Units& units) {
    Announced all;
    all.num_members = std::ssize(units.members_of(0));
    for (int source = 0; source < units.num_ranks(); ++source) {
        const RankChoices of_source(source, units.num_ranks());
        const SendPlan send = make_send_plan(of_source.choices(), placement, units, source);
        all.counts.push_back(send.row_offsets[0].size());
        const Range places = units.places_of(0);
        for (index_t place = places.begin; place < places.end; ++place)
            all.counts.push_back(send.slot_offsets[place].size());
        const Range slots = send.slots_to(units, 0);
        for (index_t i = slots.begin; i < slots.end; ++i) all.records.push_back(send.slots[i]);
        if (source < all.num_members)
            all.returned.push_back(num_returned(send, units, source, ReturnRows::per_unit));
    }
    return all;
}

/// Where each member's slots are among the results of the unit, as its ranks write them down for each other.
Indexed<RecordAxis, std::int32_t> places_of(const Announced& all, const Placement& placement,
                                            const Units& units) {
    Indexed<RecordAxis, std::int32_t> places(all.records.size());
    for (int member = 0; member < static_cast<int>(all.num_members); ++member) {
        const UnitCounts counts = all.of_member(member);
        const ReceivePlan plan = make_receive_plan(counts, all.records, placement, units,
                                                   units.members_of(0)[static_cast<std::size_t>(member)]);
        const auto first = static_cast<std::int32_t>(counts.slots_of(member).begin);
        index_t record = 0;
        for (int source = 0; source < units.num_ranks(); ++source) {
            const Range own = counts.own_records(source);
            for (index_t i = own.begin; i < own.end; ++i) places[i] = first + plan.slot_of_record[record++];
        }
    }
    return places;
}

/// Whether ranks of a node read rows in memory that they share, or each gets those that it reads.
enum class InsideNodes { shared, relayed };

struct Held {
    index_t bytes = 0;
    index_t rows = 0;  ///< that rank 0 sends, receives as a member or gateway, computes, and gets back
};

/// What rank 0 holds of a plan and of what its unit shares, a member's part of that.
Held plan_of_rank_0(ExchangeKind kind, InsideNodes inside, int num_ranks, int ranks_per_node) {
    Topology topology;
    for (int rank = 0; rank < num_ranks; ++rank) topology.node_of_rank.push_back(rank / ranks_per_node);
    const Placement placement = block_placement(num_ranks, num_ranks);
    const Units planning(kind, topology);
    const Announced all = announce(placement, planning);
    const Indexed<RecordAxis, std::int32_t> places = places_of(all, placement, planning);
    const RankChoices mine(0, num_ranks);

    const index_t before = allocated_bytes();
    const Units units(kind, topology);
    const UnitCounts counts = all.of_member(0);
    DispatchPlan plan;
    plan.send = make_send_plan(mine.choices(), placement, units, 0);
    plan.receive = make_receive_plan(counts, all.records, placement, units, 0, SlotChunks::by_arrival);
    plan.gateway = make_gateway_plan(counts, all.records, places, units, 0);
    plan.back = make_return_plan(plan.send, counts, places, units, 0, ReturnRows::per_unit);
    Held held{allocated_bytes() - before, 0};
    if (inside == InsideNodes::relayed) {
        keep_rows_read_here(counts, all.records, units, plan.receive);
        plan.relay =
            make_relay_plan(plan.send, {all.table(), counts, all.records}, plan.receive, units, 0).plan;
        held.bytes = allocated_bytes() - before;
        REQUIRE(plan.relay.near_rows.row.size() + plan.relay.far_rows.row.size() > 0);
    }

    const index_t shared = std::ssize(all.counts) * index_t{sizeof(index_t)} +
                           all.records.size() * index_t{sizeof(SlotRecord) + sizeof(std::int32_t)};
    held.bytes += shared / all.num_members;
    held.rows = plan.send.num_slots() + plan.receive.num_slots() + all.records.size() / all.num_members +
                plan.gateway.slot_of_record.size();
    REQUIRE(plan.receive.num_slots() > 0);
    return held;
}

void check_bytes(ExchangeKind kind, int ranks_per_node, InsideNodes inside = InsideNodes::shared) {
    // What is passed on, and to whom, is listed besides.
    const index_t bytes_of_row = inside == InsideNodes::relayed ? 40 : 32;
    constexpr index_t kBytesOfRank = 170;
    for (const int num_ranks : {64, 512, 4096}) {
        const Held held = plan_of_rank_0(kind, inside, num_ranks, ranks_per_node);
        CAPTURE(exchange_name(kind), num_ranks, ranks_per_node, held.bytes, held.rows);
        CHECK(held.bytes <= bytes_of_row * held.rows + kBytesOfRank * num_ranks);
        // It is measured: no plan is without its records.
        CHECK(held.bytes >= 20 * held.rows);
    }
}

}  // namespace

TEST_CASE("plan memory: on up to 4096 ranks it grows with a rank's rows and with the ranks", "[unit]") {
    if (!kAllocatorCounts) {
        WARN("SKIPPED: a sanitizer's allocator tells nothing");
        return;
    }
    check_bytes(ExchangeKind::flat, 8);
    for (const int ranks_per_node : {1, 8, 64}) check_bytes(ExchangeKind::hierarchical, ranks_per_node);
}

TEST_CASE("plan memory: where GPUs pass rows on to each other, too", "[unit]") {
    if (!kAllocatorCounts) {
        WARN("SKIPPED: a sanitizer's allocator tells nothing");
        return;
    }
    for (const int ranks_per_node : {8, 64})
        check_bytes(ExchangeKind::hierarchical, ranks_per_node, InsideNodes::relayed);
}

TEST_CASE("plan memory: what one_sided lets others put into grows with the ranks", "[unit]") {
    for (const index_t num_ranks : {64, 256, 512, 4096, 65536}) {
        const comm::detail::WindowLayout window(num_ranks);
        CAPTURE(num_ranks, window.ring_bytes());
        // A ring of 32 KiB at least, and all of 64 MiB as long as that is more.
        CHECK(window.bytes() <=
              std::max(index_t{64} << 20, num_ranks * (index_t{32} << 10)) + 128 * num_ranks);
        CHECK(window.bytes() >= num_ranks * window.ring_bytes());
    }
}
