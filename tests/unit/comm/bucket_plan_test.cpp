// How gradients are cut into buckets and slices.
#include <catch2/catch.hpp>

#include "comm/gradient_sync/bucket_plan.hpp"
#include "tests/unit/comm/conformance.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// Matrices drawn from a seed; some have no rows or no columns, the first begins anywhere.
std::vector<FlatMatrix> drawn_matrices(test::Draws& draws) {
    std::vector<FlatMatrix> matrices;
    index_t offset = draws.below(20);
    const index_t count = draws.below(12);
    for (index_t m = 0; m < count; ++m) {
        matrices.push_back({offset, draws.below(40), draws.below(30)});
        offset += matrices.back().rows * matrices.back().cols;
    }
    return matrices;
}

/// The cut lies at a border of some row of some matrix of the bucket.
bool lies_between_rows(index_t cut, const BucketPlan& plan, const Bucket& bucket) {
    for (index_t m = bucket.matrices.begin; m < bucket.matrices.end; ++m) {
        const FlatMatrix& matrix = plan.matrices[m];
        const index_t place = cut - matrix.offset;
        if (place == 0) return true;
        if (matrix.cols > 0 && place > 0 && place <= matrix.rows * matrix.cols && place % matrix.cols == 0)
            return true;
    }
    return false;
}

}  // namespace

TEST_CASE("bucket plan: rows are never cut and owned once, slices are as even as rows allow",
          "[unit][property]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        test::Draws draws(seed);
        const std::vector<FlatMatrix> matrices = drawn_matrices(draws);
        const int ranks = static_cast<int>(1 + draws.below(9));
        const index_t bucket_elements = 1 + draws.below(2000);
        INFO("seed " << seed << ", " << ranks << " ranks, buckets of " << bucket_elements);
        const BucketPlan plan = make_bucket_plan(matrices, ranks, bucket_elements);
        CHECK(plan == make_bucket_plan(matrices, ranks, bucket_elements));
        index_t next_matrix = 0;
        for (const Bucket& bucket : plan.buckets) {
            CHECK(bucket.matrices.begin == next_matrix);
            next_matrix = bucket.matrices.end;
            CHECK(static_cast<int>(bucket.cuts.size()) == ranks + 1);
            CHECK(std::is_sorted(bucket.cuts.begin(), bucket.cuts.end()));
            index_t widest = 0;
            for (index_t m = bucket.matrices.begin; m < bucket.matrices.end; ++m)
                widest = std::max(widest, plan.matrices[m].cols);
            const index_t size = bucket.cuts.back() - bucket.cuts.front();
            if (&bucket != &plan.buckets.back()) CHECK(size >= bucket_elements);
            for (int r = 0; r < ranks; ++r) {
                const index_t cut = bucket.elements_of(r).begin;
                CHECK(lies_between_rows(cut, plan, bucket));
                // The nearest border of a row: no further than half a row from the even cut.
                const index_t even = bucket.cuts.front() + part_of(size, ranks, r).begin;
                CHECK(2 * std::abs(cut - even) <= widest);
            }
        }
        CHECK(next_matrix == static_cast<index_t>(matrices.size()));
        std::vector<std::vector<int>> owners;
        for (const FlatMatrix& matrix : matrices)
            owners.emplace_back(static_cast<std::size_t>(matrix.rows), 0);
        for (int rank = 0; rank < ranks; ++rank) {
            index_t elements = 0;
            for (const RowRange& range : plan.rows_of(rank)) {
                const auto m = static_cast<std::size_t>(range.matrix);
                elements += range.rows.size() * matrices[m].cols;
                for (index_t row = range.rows.begin; row < range.rows.end; ++row)
                    ++owners[m][static_cast<std::size_t>(row)];
            }
            CHECK(elements == plan.elements_of(rank));
        }
        for (std::size_t m = 0; m < matrices.size(); ++m)
            CHECK(owners[m] == std::vector<int>(owners[m].size(), matrices[m].cols == 0 ? 0 : 1));
    }
}

TEST_CASE("bucket plan: a tiny plan is the one drawn by hand", "[unit]") {
    // 12 + 8 elements reach 20 and make a bucket; the rest is the second.
    const BucketPlan plan = make_bucket_plan({{0, 3, 4}, {12, 4, 2}, {20, 1, 5}}, 2, 20);
    REQUIRE(plan.buckets.size() == 2);
    // Half of 20 is 10, whose nearest row border is 12.
    CHECK(plan.buckets[0] == Bucket{{0, 2}, {0, 12, 20}});
    // A single row has a single owner.
    CHECK(plan.buckets[1] == Bucket{{2, 3}, {20, 25, 25}});
    CHECK(plan.rows_of(0) == std::vector<RowRange>{{0, {0, 3}}, {2, {0, 1}}});
    CHECK(plan.rows_of(1) == std::vector<RowRange>{{1, {0, 4}}});
    CHECK(plan.elements_of(0) == 17);
    CHECK(plan.to_string() ==
          "3 matrices in 2 buckets:\n  matrices 0 to 1, cuts 0 12 20\n  matrices 2 to 2, cuts 20 25 25");
}

TEST_CASE("bucket plan: a gap ends a bucket and belongs to nobody", "[unit]") {
    const BucketPlan plan =
        make_bucket_plan({{3, 2, 2}, {7, 1, 2}, {12, 2, 3}, {20, 1, 2}, {22, 1, 2}}, 2, 100);
    REQUIRE(plan.buckets.size() == 3);
    CHECK(plan.buckets[0] == Bucket{{0, 2}, {3, 7, 9}});
    CHECK(plan.buckets[1] == Bucket{{2, 3}, {12, 15, 18}});
    CHECK(plan.buckets[2] == Bucket{{3, 5}, {20, 22, 24}});
    CHECK(plan.elements_of(0) + plan.elements_of(1) == 4 + 2 + 6 + 2 + 2);
}

TEST_CASE("bucket plan: what cannot be is refused", "[unit]") {
    CHECK_THROWS_WITH(make_bucket_plan({{0, 2, 3}, {5, 1, 1}}, 2, 10),
                      Catch::Contains("matrix 1 starts at 5, before the end 6"));
    CHECK_THROWS_AS(make_bucket_plan({{0, 2, 3}}, 0, 10), LogicError);
    CHECK_THROWS_AS(make_bucket_plan({{0, 2, 3}}, 2, 0), LogicError);
    CHECK(make_bucket_plan({}, 3, 10).buckets.empty());
    CHECK(make_bucket_plan({}, 3, 10).elements_of(2) == 0);
}
