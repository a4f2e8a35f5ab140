// Experts on ranks.
#include <catch2/catch.hpp>

#include <array>

#include "comm/exchange/placement.hpp"

using namespace sy;
using namespace sy::comm;

TEST_CASE("placement: blocks hold every expert once, in order, and differ by one at most", "[unit]") {
    for (index_t experts = 0; experts <= 20; ++experts) {
        for (int ranks = 1; ranks <= 9; ++ranks) {
            INFO(experts << " experts, " << ranks << " ranks");
            const Placement placement = block_placement(experts, ranks);
            std::vector<index_t> all;
            for (int rank = 0; rank < ranks; ++rank) {
                const Indexed<LocalExpertAxis, index_t> local = placement.experts_of(rank);
                CHECK((local.size() == experts / ranks || local.size() == experts / ranks + 1));
                for (const index_t expert : local) {
                    CHECK(placement.rank_of(expert) == rank);
                    all.push_back(expert);
                }
            }
            REQUIRE(static_cast<index_t>(all.size()) == experts);
            for (index_t e = 0; e < experts; ++e) CHECK(all[static_cast<std::size_t>(e)] == e);
        }
    }
}

TEST_CASE("placement: any expert may be anywhere, numbered by rank in ascending order", "[unit]") {
    const Placement placement({2, 0, 2, 0, 2}, 4);
    CHECK(placement.experts_of(0) == std::vector<index_t>{1, 3});
    CHECK(placement.experts_of(1).empty());
    CHECK(placement.experts_of(2) == std::vector<index_t>{0, 2, 4});
    CHECK(placement.to_string() == "5 experts on 4 ranks: 1 3 | - | 0 2 4 | -");
    CHECK(block_placement(7, 3).to_string() == "7 experts on 3 ranks: 0-2 | 3 4 | 5 6");
    CHECK(block_placement(1, 1).to_string() == "1 experts on 1 rank: 0");
    CHECK(placement == Placement({2, 0, 2, 0, 2}, 4));
    CHECK_FALSE(placement == Placement({2, 0, 2, 0, 2}, 3));
}

TEST_CASE("placement: shadows follow the primaries of their rank", "[unit]") {
    const Placement placement({0, 0, 1, 2}, 3, {{3, 1}, {0, 2}, {0, 1}});
    CHECK(placement.num_experts() == 4);
    CHECK(placement.num_shadows() == 3);
    CHECK(placement.rank_of(0) == 0);
    const auto copies = [&](index_t expert) {
        const std::span<const int> ranks = placement.copies_of(expert);
        return std::vector<int>(ranks.begin(), ranks.end());
    };
    CHECK(copies(0) == std::vector<int>{0, 1, 2});
    CHECK(copies(1) == std::vector<int>{0});
    CHECK(copies(3) == std::vector<int>{1, 2});
    CHECK(placement.primaries_of(1) == std::vector<index_t>{2});
    CHECK(placement.shadows_of(1) == std::vector<index_t>{0, 3});
    CHECK(placement.experts_of(1) == std::vector<index_t>{2, 0, 3});
    CHECK(placement.to_string() == "4 experts on 3 ranks: 0 1 | 2 + 0 3 | 3 + 0");
    // The order in which shadows are named does not matter.
    CHECK(placement == Placement({0, 0, 1, 2}, 3, {{0, 1}, {0, 2}, {3, 1}}));
    CHECK_FALSE(placement == Placement({1, 0, 1, 2}, 3, {{0, 0}, {0, 2}, {3, 1}}));
}

TEST_CASE("placement: sequences use the copy of their own rank, or the copies in turn", "[unit]") {
    const Placement placement({3, 1}, 5, {{0, 4}, {0, 1}});
    for (index_t sequence = 0; sequence < 9; ++sequence) {
        for (const int holder : {1, 3, 4}) CHECK(placement.rank_for(0, holder, sequence) == holder);
        for (const int other : {0, 2}) {
            CHECK(placement.rank_for(0, other, sequence) ==
                  (std::array{1, 3, 4}[static_cast<std::size_t>(sequence % 3)]));
            CHECK(placement.rank_for(1, other, sequence) == 1);
        }
    }
}

TEST_CASE("placement: only mixture layers have one", "[unit]") {
    const Placements placements = block_placements({false, true, false, true}, 5, 2);
    REQUIRE(placements.size() == 2);
    CHECK(placements.at(1) == block_placement(5, 2));
    CHECK(placements.at(3) == block_placement(5, 2));
    CHECK(block_placements({false}, 5, 2).empty());
}

TEST_CASE("placement: ranks and experts that cannot be are refused", "[unit]") {
    CHECK_THROWS_WITH(Placement({0, 1}, 2, {{2, 0}}), Catch::Contains("a shadow of expert 2 of 2"));
    CHECK_THROWS_WITH(Placement({0, 1}, 2, {{0, 2}}), Catch::Contains("expert 0 of 2 is on rank 2 of 2"));
    CHECK_THROWS_WITH(Placement({0, 1}, 3, {{0, 0}}), Catch::Contains("rank 0 would hold expert 0 twice"));
    CHECK_THROWS_WITH(Placement({0, 1}, 3, {{0, 2}, {0, 2}}),
                      Catch::Contains("rank 2 would hold expert 0 twice"));
    CHECK_THROWS_WITH(Placement({0, 3}, 3), Catch::Contains("expert 1 of 2 is on rank 3 of 3"));
    CHECK_THROWS_AS(Placement({-1}, 3), LogicError);
    CHECK_THROWS_AS(Placement({}, 0), LogicError);
    CHECK_THROWS_AS(block_placement(-1, 2), LogicError);
    CHECK_THROWS_AS(block_placement(4, 0), LogicError);
    CHECK_THROWS_AS(block_placement(4, 2).experts_of(2), LogicError);
    CHECK_THROWS_AS(block_placement(4, 2).experts_of(-1), LogicError);
}
