// Plans of the exchange in closed form, and every record that a rank refuses. T tokens, K choices.
#include <catch2/catch.hpp>

#include "comm/exchange/relay_plan.hpp"

#include "kernels/core/host_view.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// Choices of `num_tokens` tokens, as many of each.
Choices choices_of(const std::vector<std::int32_t>& expert, const std::vector<float>& weight,
                   const std::vector<std::uint8_t>& kept, index_t num_tokens) {
    const index_t top_k = std::ssize(expert) / num_tokens;
    return {.expert = MatrixView<const std::int32_t>(expert.data(), num_tokens, top_k),
            .weight = MatrixView<const float>(weight.data(), num_tokens, top_k),
            .kept = MatrixView<const std::uint8_t>(kept.data(), num_tokens, top_k)};
}

/// Three tokens with two choices each, five experts on three ranks: 0 1 | 2 3 | 4.
struct Tiny {
    std::vector<std::int32_t> expert{1, 0, 2, 4, 3, 2};
    std::vector<float> weight{0.5F, 0.25F, 1.0F, 2.0F, 3.0F, 4.0F};
    std::vector<std::uint8_t> kept{1, 1, 1, 0, 1, 1};
    Placement placement = block_placement(5, 3);

    Choices choices() const { return choices_of(expert, weight, kept, 3); }
};

/// A unit for each rank.
Units flat(int num_ranks) {
    return Units(ExchangeKind::flat, Topology{PerRank<int>(num_ranks, 0)});
}

Units by_node(PerRank<int> node_of_rank) {
    return Units(ExchangeKind::hierarchical, Topology{std::move(node_of_rank)});
}

/// Rows and records that each of two ranks announces to rank 0, of which nothing comes back.
UnitCounts counts_of(const std::vector<index_t>& announced) {
    const index_t nothing = 0;
    return UnitCounts(MatrixView<const index_t>(announced.data(), std::ssize(announced) / 2, 2),
                      std::span(&nothing, 1), 0);
}

/// Makes the receive plan of rank 0 of two (experts 0 1 | 2 3) from records of both ranks.
ReceivePlan receive(const std::vector<index_t>& announced, const std::vector<SlotRecord>& records) {
    return make_receive_plan(counts_of(announced), records, block_placement(4, 2), flat(2), 0);
}

/// Where the slots of records are that were received in their final order.
std::vector<std::int32_t> places_from(std::int32_t first, index_t count) {
    std::vector<std::int32_t> places;
    for (index_t i = 0; i < count; ++i) places.push_back(first + static_cast<std::int32_t>(i));
    return places;
}

}  // namespace

TEST_CASE("dispatch plan: a tiny send plan is the one drawn by hand", "[unit]") {
    const Tiny tiny;
    const SendPlan plan = make_send_plan(tiny.choices(), tiny.placement, flat(3), 0);
    // Token 0 goes once to rank 0 for both its experts; token 1 to rank 1, its second choice is dropped; token 2 to rank 1.
    CHECK(plan.row_offsets == std::vector<index_t>{0, 1, 3, 3});
    CHECK(plan.row_token == std::vector<std::int32_t>{0, 1, 2});
    CHECK(plan.slot_offsets == std::vector<index_t>{0, 2, 5, 5});
    CHECK(plan.slots == std::vector<SlotRecord>{{0, 1, 0, 0, 0.5F},
                                                {0, 0, 1, 0, 0.25F},
                                                {0, 2, 0, 1, 1.0F},
                                                {1, 3, 0, 2, 3.0F},
                                                {1, 2, 1, 2, 4.0F}});
    CHECK(plan.slot_row == std::vector<std::int32_t>{0, 0, 1, 2, 2});
    CHECK(plan.slot_of_choice == std::vector<std::int32_t>{0, 1, 2, -1, 3, 4});
    CHECK(plan.least_network_rows == 0);  // all three share a node
    CHECK(plan.to_string() ==
          "send 3 rows, 5 slots: row offsets [0 1 3 3], slot offsets [0 2 5 5], tokens [0 1 2]");
}

TEST_CASE("dispatch plan: a node gets a row once, whichever of its ranks need it", "[unit]") {
    const Tiny tiny;
    // Ranks 0 and 2 share a node: rank 1, alone on the other, sends token 0 and nothing of token 1's dropped choice there.
    const Units units = by_node({0, 1, 0});
    CHECK(units.num_units() == 2);
    CHECK(units.place_of(2) == 1);
    CHECK(units.gateway(1, 0) == 0);
    CHECK(units.gateway(2, 1) == 1);
    const std::vector<std::int32_t> expert{4, 0, 1, 4, 3, 2};
    const std::vector<float> weight(6, 1.0F);
    const std::vector<std::uint8_t> kept{1, 1, 0, 1, 1, 1};
    const SendPlan plan = make_send_plan(choices_of(expert, weight, kept, 3), tiny.placement, units, 1);
    CHECK(plan.row_offsets == std::vector<index_t>{0, 2, 3});
    CHECK(plan.row_token == std::vector<std::int32_t>{0, 1, 2});
    // By rank 0, 2, 1: expert 0 of token 0; expert 4 of tokens 0 and 1; experts 3 and 2 of token 2.
    CHECK(plan.slot_offsets == std::vector<index_t>{0, 1, 3, 5});
    CHECK(plan.slots == std::vector<SlotRecord>{{0, 0, 1, 0, 1.0F},
                                                {0, 4, 0, 0, 1.0F},
                                                {1, 4, 1, 1, 1.0F},
                                                {0, 3, 0, 2, 1.0F},
                                                {0, 2, 1, 2, 1.0F}});
    CHECK(plan.least_network_rows == 2);
    CHECK(num_returned(plan, units, 1, ReturnRows::per_unit) == 2);
    CHECK(num_returned(plan, units, 1, ReturnRows::per_choice) == 3);

    // The node of ranks 0 and 2 gets just that. Slots of rank 0 come first among its results, then rank 2's.
    const std::vector<index_t> announced{0, 0, 0, 2, 1, 2, 0, 0, 0};
    const std::vector<index_t> nothing{0, 0};
    const UnitCounts counts(MatrixView<const index_t>(announced.data(), 3, 3), nothing, 0);
    const UnitCounts of_other(MatrixView<const index_t>(announced.data(), 3, 3), nothing, 1);
    const std::vector<SlotRecord> records(plan.slots.begin(), plan.slots.begin() + 3);
    const ReceivePlan of_2 = make_receive_plan(of_other, records, tiny.placement, units, 2);
    CHECK_THROWS_AS(make_receive_plan(counts, records, tiny.placement, units, 2), LogicError);
    CHECK(of_2.slot_row == std::vector<std::int32_t>{0, 1});
    CHECK(of_2.slot_token == std::vector<std::int32_t>{0, 1});
    const GatewayPlan gateway = make_gateway_plan(counts, records, places_from(0, 3), units, 0);
    CHECK(gateway.row_offsets == std::vector<index_t>{0, 0, 2, 2});
    // Token 0's first choice is on rank 2: it is added first.
    CHECK(gateway.row_slot_offsets == std::vector<index_t>{0, 2, 3});
    CHECK(gateway.row_slots == std::vector<std::int32_t>{1, 0, 2});
    CHECK(gateway.slot_of_record == std::vector<std::int32_t>{0, 1, 2});
    const std::vector<SlotRecord> one_short{plan.slots[0], plan.slots[1], plan.slots[1]};
    CHECK_THROWS_WITH(make_gateway_plan(counts, one_short, places_from(0, 3), units, 0),
                      Catch::Contains("rank 1 announced 2 rows, its records leave out row 1"));

    // Rank 1 gets two rows back behind its two slots, which stand in another order than its choices.
    const std::vector<index_t> at_home{0, 0, 1, 2, 0, 0};
    const std::vector<index_t> back{2};
    const UnitCounts own(MatrixView<const index_t>(at_home.data(), 3, 2), back, 0);
    const std::vector<std::int32_t> swapped{1, 0};
    const ReturnPlan sums = make_return_plan(plan, own, swapped, units, 1, ReturnRows::per_unit);
    CHECK(sums.slots == Range{0, 2});
    CHECK(sums.returned == Range{2, 4});
    CHECK(sums.offsets == std::vector<index_t>{0, 1, 2, 4});
    CHECK(sums.rows == std::vector<std::int32_t>{2, 3, 1, 0});
    CHECK(sums.slot_of_choice == std::vector<std::int32_t>{3, 2, -1, 4, 1, 0});
    CHECK(sums.slots_of_others == 0);
}

TEST_CASE("dispatch plan: where ranks of a node share no memory, each gets the rows that it reads",
          "[unit]") {
    // An expert on each of two ranks of two nodes. Of rank 0's tokens the first needs both ranks of the other node, the
    // second both of its own.
    const Units units = by_node({0, 0, 1, 1});
    const Placement placement = block_placement(4, 4);
    const std::vector<std::int32_t> expert{3, 2, 0, 1};
    const std::vector<float> weight(4, 1.0F);
    const std::vector<std::uint8_t> kept(4, 1);
    const SendPlan of_0 = make_send_plan(choices_of(expert, weight, kept, 2), placement, units, 0);
    const SendPlan nothing = make_send_plan(choices_of({}, {}, {}, 1), placement, units, 2);
    const std::vector<index_t> announced{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const auto relay = [&](const SendPlan& send, int rank, const std::vector<index_t>& returned,
                           const std::vector<SlotRecord>& records) {
        const MatrixView<const index_t> table(announced.data(), 4, 3);
        const UnitCounts counts(table, returned, units.member_number(rank));
        ReceivePlan plan = make_receive_plan(counts, records, placement, units, rank);
        keep_rows_read_here(counts, records, units, plan);
        CHECK(plan.slot_row == std::vector<std::int32_t>{0});
        CHECK(plan.num_rows() == 1);
        return make_relay_plan(send, {table, counts, records}, plan, units, rank);
    };
    using Parts = std::vector<Relay::Part>;

    // The row lands at rank 2, which passes it on; both results are added there, in the order of the records' places.
    const std::vector<SlotRecord> far(of_0.slots.begin() + 2, of_0.slots.end());
    const RelayedResults gateway = relay(nothing, 2, {0, 0}, far);
    CHECK(gateway.plan.far_rows.kept == std::vector<Relay::Kept>{{{0, 1}, {0, 1}}});
    CHECK(gateway.plan.far_rows.row == std::vector<std::int32_t>{0});
    CHECK(gateway.plan.far_rows.sent == Parts{{3, {0, 1}}});
    CHECK(gateway.plan.far_results.received == Parts{{3, {1, 2}}});
    CHECK(gateway.places == std::vector<std::int32_t>{0, 1});
    CHECK(gateway.layout.num_results == 2);
    const RelayedResults neighbour = relay(nothing, 3, {0, 0}, far);
    CHECK(neighbour.plan.far_rows.received == Parts{{2, {0, 1}}});
    CHECK(neighbour.plan.far_results.row == std::vector<std::int32_t>{0});
    CHECK(neighbour.plan.far_results.sent == Parts{{2, {0, 1}}});
    CHECK(neighbour.places == std::vector<std::int32_t>{-1, 0});

    // At home the token goes to the neighbour directly, and its result comes back behind rank 0's own.
    const std::vector<SlotRecord> near(of_0.slots.begin(), of_0.slots.begin() + 2);
    const RelayedResults home = relay(of_0, 0, {1, 0}, near);
    CHECK(home.plan.near_rows.kept_row == std::vector<std::int32_t>{1});
    CHECK(home.plan.near_rows.row == std::vector<std::int32_t>{1});
    CHECK(home.plan.near_rows.sent == Parts{{1, {0, 1}}});
    CHECK(home.plan.near_results.received == Parts{{1, {1, 2}}});
    CHECK(home.layout.slots == Range{0, 1});
    CHECK(home.layout.num_slots == 2);
    CHECK(home.layout.returned == Range{2, 3});
    CHECK(relay(nothing, 1, {1, 0}, near).plan.near_rows.received == Parts{{0, {0, 1}}});
}

TEST_CASE("dispatch plan: rows that return are added by the first choice they carry", "[unit]") {
    // The first choice is on the last rank, the other two are here.
    const std::vector<std::int32_t> expert{3, 0, 2};
    const std::vector<float> weight(3, 1.0F);
    const std::vector<std::uint8_t> kept(3, 1);
    const SendPlan plan =
        make_send_plan(choices_of(expert, weight, kept, 1), block_placement(4, 2), flat(2), 0);
    CHECK(plan.row_offsets == std::vector<index_t>{0, 1, 2});
    const std::vector<index_t> announced{1, 1, 0, 0};
    const index_t one = 1;
    const index_t two = 2;
    const UnitCounts rows(MatrixView<const index_t>(announced.data(), 2, 2), std::span(&one, 1), 0);
    CHECK(make_return_plan(plan, rows, places_from(0, 1), flat(2), 0, ReturnRows::per_unit).rows ==
          std::vector<std::int32_t>{1, 0});
    const UnitCounts choices(MatrixView<const index_t>(announced.data(), 2, 2), std::span(&two, 1), 0);
    CHECK(make_return_plan(plan, choices, places_from(0, 1), flat(2), 0, ReturnRows::per_choice).rows ==
          std::vector<std::int32_t>{1, 0, 2});
}

TEST_CASE("dispatch plan: copies of an expert take turns by sequence, and one on the spot comes first",
          "[unit]") {
    // Six tokens in sequences of two choose experts 0 and 3; 0 is on ranks 1 and 2 too, 3 only on rank 1.
    const Placement placement({0, 0, 1, 1}, 4, {{0, 2}, {0, 1}});
    const std::vector<std::int32_t> expert{0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3};
    const std::vector<float> weight(12, 1.0F);
    const std::vector<std::uint8_t> kept(12, 1);
    Choices choices = choices_of(expert, weight, kept, 6);
    choices.first_token = 2;
    choices.seq_len = 2;  // sequences 1, 2, 3
    const SendPlan far = make_send_plan(choices, placement, flat(4), 3);
    // Sequence 1 goes to rank 1, where both experts share a row; 2 to rank 2; 3 to rank 0.
    CHECK(far.row_offsets == std::vector<index_t>{0, 2, 8, 10, 10});
    CHECK(far.row_token == std::vector<std::int32_t>{4, 5, 0, 1, 2, 3, 4, 5, 2, 3});
    CHECK(far.slot_offsets == std::vector<index_t>{0, 2, 10, 12, 12});
    const SendPlan near = make_send_plan(choices, placement, flat(4), 2);
    CHECK(near.row_offsets == std::vector<index_t>{0, 0, 6, 12, 12});
    // A shadow takes records as a primary does, numbered behind the primaries.
    const std::vector<SlotRecord> records{{0, 3, 0, 0, 1.0F}, {0, 0, 1, 0, 1.0F}};
    const ReceivePlan plan =
        make_receive_plan(counts_of({0, 0, 0, 0, 0, 0, 1, 2}), records, placement, flat(4), 1);
    CHECK(plan.expert_offsets() == std::vector<index_t>{0, 0, 1, 2});
    CHECK(plan.slot_of_record == std::vector<std::int32_t>{0, 1});
}

TEST_CASE("dispatch plan: a tiny receive plan is the one drawn by hand", "[unit]") {
    // Rank 0 sends token 1 for experts 1 and 0; rank 1 sends token 0 for expert 0 and token 5 for expert 0.
    const ReceivePlan plan = receive(
        {1, 2, 2, 2}, {{0, 1, 0, 1, 0.5F}, {0, 0, 1, 1, 0.25F}, {0, 0, 0, 0, 1.0F}, {1, 0, 1, 5, 2.0F}});
    CHECK(plan.expert_offsets() == std::vector<index_t>{0, 3, 4});
    CHECK(plan.slot_row == std::vector<std::int32_t>{0, 1, 2, 0});
    CHECK(plan.slot_weight == std::vector<float>{0.25F, 1.0F, 2.0F, 0.5F});
    CHECK(plan.slot_source == std::vector<std::int32_t>{0, 1, 1, 0});
    CHECK(plan.slot_token == std::vector<std::int32_t>{1, 0, 5, 1});
    CHECK(plan.slot_of_record == std::vector<std::int32_t>{3, 0, 1, 2});
    CHECK(plan.to_string() ==
          "receive 3 rows, 4 slots: row offsets [0 1 3], expert offsets [0 3 4], rows [0 1 2 0]");
}

TEST_CASE("dispatch plan: by arrival, slots of near rows stand around those of far ones", "[unit]") {
    // Experts 0 to 3 of rank 0. Its own tokens chose 0, 3 and 1, those of rank 1 chose 0 and 2.
    const std::vector<SlotRecord> records{
        {0, 0, 0, 0, 1.0F}, {0, 3, 1, 0, 2.0F}, {1, 1, 0, 1, 3.0F}, {0, 0, 0, 4, 4.0F}, {1, 2, 0, 6, 5.0F}};
    const ReceivePlan plan = make_receive_plan(counts_of({2, 3, 2, 2}), records, block_placement(8, 2),
                                               flat(2), 0, SlotChunks::by_arrival);
    REQUIRE(plan.chunks.size() == 3);
    CHECK(plan.chunks[0].slots == Range{0, 2});
    CHECK(plan.chunks[0].experts == std::vector<index_t>{0, 1, 2, 2, 2});
    CHECK(plan.chunks[1].slots == Range{2, 4});
    CHECK(plan.chunks[1].experts == std::vector<index_t>{0, 1, 1, 2, 2});
    CHECK(plan.chunks[2].slots == Range{4, 5});
    CHECK(plan.chunks[2].experts == std::vector<index_t>{0, 0, 0, 0, 1});
    CHECK((plan.chunks[0].near && !plan.chunks[1].near && plan.chunks[2].near));
    CHECK(plan.slot_weight == std::vector<float>{1.0F, 3.0F, 4.0F, 5.0F, 2.0F});
    CHECK(plan.slot_of_record == std::vector<std::int32_t>{0, 4, 1, 2, 3});
    CHECK_THROWS_AS(plan.expert_offsets(), LogicError);
}

TEST_CASE("dispatch plan: nothing received is a plan too", "[unit]") {
    const ReceivePlan plan = receive({0, 0, 0, 0}, {});
    CHECK(plan.num_rows() == 0);
    CHECK(plan.num_slots() == 0);
    CHECK(plan.expert_offsets() == std::vector<index_t>{0, 0, 0});
}

TEST_CASE("dispatch plan: choices that do not fit are refused", "[unit]") {
    Tiny tiny;
    const auto refusal = [](const Tiny& from, const Choices& choices) {
        return make_send_plan(choices, from.placement, flat(3), 0);
    };
    Choices choices = tiny.choices();
    choices.weight = HostRef(choices.weight.readable().rows_of({0, 2}));
    CHECK_THROWS_WITH(refusal(tiny, choices), Catch::Contains("experts [3, 2], weights [2, 2], kept [3, 2]"));
    choices = tiny.choices();
    choices.kept = HostRef(choices.kept.readable().cols_of({0, 1}));
    CHECK_THROWS_AS(refusal(tiny, choices), LogicError);
    choices = tiny.choices();
    choices.seq_len = 0;
    CHECK_THROWS_WITH(refusal(tiny, choices), Catch::Contains("sequences of 0 tokens from token 0"));
    tiny.expert[4] = 5;
    CHECK_THROWS_WITH(refusal(tiny, tiny.choices()), Catch::Contains("choice 0 of token 2 is expert 5 of 5"));
    tiny.expert[4] = -1;
    CHECK_THROWS_AS(refusal(tiny, tiny.choices()), LogicError);
    tiny.kept[4] = 0;  // dropped, it may name anything
    CHECK(refusal(tiny, tiny.choices()).num_slots() == 4);
}

TEST_CASE("dispatch plan: a record that cannot be is refused, with its source and the reason", "[unit]") {
    struct Refused {
        std::vector<SlotRecord> of_rank_1;
        index_t announced_rows;
        const char* says;
    };
    const Refused refused[] = {
        {{{0, 4, 0, 0, 1.0F}},
         1,
         "rank 1 sent record 0 (row 0, expert 4, choice 0, token 0): no such expert"},
        {{{0, -1, 0, 0, 1.0F}}, 1, "no such expert"},
        {{{0, 2, 0, 0, 1.0F}},
         1,
         "the expert is not here; the placement here is 4 experts on 2 ranks: 0 1 | 2 3"},
        {{{-1, 0, 0, -1, 1.0F}, {0, 0, 0, 0, 1.0F}},
         1,
         "rank 1 sent record 0 (row -1, expert 0, choice 0, token -1): no such row"},
        {{{1, 0, 0, 0, 1.0F}}, 1, "more rows than announced"},
        {{{1, 0, 0, 0, 1.0F}, {0, 0, 0, 1, 1.0F}}, 2, "rows must ascend"},
        {{{0, 0, 0, 0, 1.0F}, {2, 0, 0, 1, 1.0F}}, 2, "rank 1 sent record 1 (row 2"},
        {{{0, 0, 0, 0, 1.0F}, {0, 1, 1, 1, 1.0F}}, 1, "another token in the same row"},
        {{{0, 0, 1, 0, 1.0F}, {0, 1, 1, 0, 1.0F}}, 1, "choices of a row must ascend"},
        {{{0, 0, -1, 0, 1.0F}}, 1, "no such choice"},
        {{{0, 0, 0, 3, 1.0F}, {1, 0, 0, 3, 1.0F}}, 2, "tokens must ascend"},
        {{{0, 0, 0, -1, 1.0F}}, 1, "tokens must ascend"},
        {{{0, 0, 0, 0, 1.0F}, {1, 0, 0, 1, 1.0F}}, 1, "more rows than announced"},
    };
    for (const Refused& one : refused) {
        INFO(one.says);
        // One good record of rank 0 comes first, so that positions are counted by source.
        std::vector<SlotRecord> records{{0, 0, 0, 0, 1.0F}};
        records.insert(records.end(), one.of_rank_1.begin(), one.of_rank_1.end());
        const std::vector<index_t> announced{1, 1, one.announced_rows, std::ssize(one.of_rank_1)};
        CHECK_THROWS_AS(receive(announced, records), CommError);
        CHECK_THROWS_WITH(receive(announced, records), Catch::Contains(one.says));
    }
}

TEST_CASE("dispatch plan: counts that cannot be are refused", "[unit]") {
    const std::vector<SlotRecord> two{{0, 0, 0, 0, 1.0F}, {0, 1, 1, 0, 1.0F}};
    CHECK_THROWS_WITH(receive({3, 2, 0, 0}, two), Catch::Contains("rank 0 announced 3 rows with 2 records"));
    CHECK_THROWS_WITH(receive({0, 1, 1, 1}, two), Catch::Contains("rank 0 announced 0 rows with 1 records"));
    CHECK_THROWS_WITH(receive({1, 2, -1, 0}, two), Catch::Contains("rank 1 announced -1 rows"));
    CHECK_THROWS_AS(receive({1, 1, 1, -1}, two), CommError);
    constexpr index_t kHuge = index_t{1} << 40;
    CHECK_THROWS_AS(receive({kHuge, kHuge, 0, 0}, two), CommError);
    constexpr index_t kHalf = index_t{1} << 30;
    CHECK_THROWS_WITH(receive({kHalf, kHalf, kHalf, kHalf}, two),
                      Catch::Contains("use smaller micro-batches"));
    CHECK_THROWS_AS(receive({1, 1, 0, 0}, two), LogicError);
    const std::vector<index_t> none{0, 0, 0, 0};
    const index_t back = -1;
    CHECK_THROWS_WITH(UnitCounts(MatrixView<const index_t>(none.data(), 2, 2), std::span(&back, 1), 0),
                      Catch::Contains("member 0 of this node announced -1 rows"));
}
