// Plans of rows that get another owner, in closed form, and what cannot be.
#include <catch2/catch.hpp>

#include "comm/relocation/move_plan.hpp"

using namespace sy;
using namespace sy::comm;

TEST_CASE("move plan: a tiny plan is the one drawn by hand", "[unit]") {
    // Matrix 5 (4 rows of 3) lies on ranks 0 and 1, matrix 2 (2 rows of 10) on rank 1; then rows 1 and 2 of matrix 5 are
    // with rank 2, the rest with rank 0, and matrix 2 stays.
    const RowOwners before{{{5, {0, 2}, 3, 0}}, {{2, {0, 2}, 10, 0}, {5, {2, 4}, 3, 20}}, {}};
    const RowOwners after{{{5, {0, 1}, 3, 0}, {5, {3, 4}, 3, 3}}, {{2, {0, 2}, 10, 0}}, {{5, {1, 3}, 3, 8}}};
    const MovePlan plan = plan_moves(before, after);
    CHECK(plan.moves == std::vector<Move>{{2, {0, 2}, 10, 1, 1, 0, 0},
                                          {5, {0, 1}, 3, 0, 0, 0, 0},
                                          {5, {1, 2}, 3, 0, 2, 3, 8},
                                          {5, {2, 3}, 3, 1, 2, 20, 11},
                                          {5, {3, 4}, 3, 1, 0, 23, 3}});
    CHECK(plan.moved_elements() == 9);
    CHECK(plan.to_string() ==
          "5 moves, 9 elements to other ranks:\n  matrix 2, rows 0 to 1: rank 1 -> 1\n"
          "  matrix 5, rows 0 to 0: rank 0 -> 0\n  matrix 5, rows 1 to 1: rank 0 -> 2\n"
          "  matrix 5, rows 2 to 2: rank 1 -> 2\n  matrix 5, rows 3 to 3: rank 1 -> 0");
    CHECK(plan_moves(before, before).moved_elements() == 0);
    CHECK(plan_moves({}, {}).moves.empty());
}

TEST_CASE("move plan: rows that would be lost, made up or doubled are refused", "[unit]") {
    const RowOwners whole{{{1, {0, 4}, 3, 0}}, {}};
    const auto refusal = [&](const RowOwners& before, const RowOwners& after, const char* says) {
        INFO(says);
        CHECK_THROWS_WITH(plan_moves(before, after), Catch::Contains(says));
        CHECK_THROWS_AS(plan_moves(before, after), LogicError);
    };
    refusal(whole, {}, "rows 0 to 3 of matrix 1 on rank 0 would be lost");
    refusal(whole, {{{1, {0, 3}, 3, 0}}}, "rows 3 to 3 of matrix 1 on rank 0 would be lost");
    refusal(whole, {{{1, {1, 4}, 3, 0}}}, "rows 0 to 3 of matrix 1 on rank 0 would be lost");
    refusal(whole, {{{1, {0, 1}, 3, 0}}, {{1, {2, 4}, 3, 0}}},
            "rows 1 to 3 of matrix 1 on rank 0 would be lost");
    refusal({}, whole, "rows 0 to 3 of matrix 1 on rank 0 are with nobody");
    refusal(whole, {{{1, {0, 4}, 3, 0}}, {{0, {0, 2}, 3, 0}}},
            "rows 0 to 1 of matrix 0 on rank 1 are with nobody");
    refusal(whole, {{{1, {0, 4}, 3, 0}}, {{1, {3, 4}, 3, 0}}},
            "rows 0 to 3 of matrix 1 on rank 0 are also rows 3 to 3 of matrix 1 on rank 1");
    refusal({{{1, {0, 4}, 3, 0}}, {{1, {0, 4}, 3, 0}}}, whole, "are also rows 0 to 3");
    refusal(whole, {{{1, {0, 4}, 2, 0}}}, "have 3 columns, on rank 0 they would have 2");
}
