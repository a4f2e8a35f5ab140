#include "kernels/ops/permute/permute.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("permute: gathered rows are copies, of floats and of bf16", "[unit]") {
    const index_t cols = GENERATE(1, 16, 35);
    const index_t count = GENERATE(0, 1, 40);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix x(9, cols, 1);
    std::vector<bf16> narrow;
    for (const float value : x.values) narrow.emplace_back(value);
    std::vector<std::int32_t> row;
    for (index_t i = 0; i < count; ++i) row.push_back(static_cast<std::int32_t>(i * 5 % 9));
    TestMatrix out(count, cols);
    std::vector<bf16> narrow_out(out.values.size());
    ops::gather_rows(x.view(), row, out.view(), session.context);
    ops::gather_rows(MatrixView<const bf16>(narrow.data(), 9, cols), row,
                     MatrixView<bf16>(narrow_out.data(), count, cols), session.context);
    for (index_t i = 0; i < count; ++i) {
        for (index_t c = 0; c < cols; ++c) {
            const float wanted = x.view()(row[static_cast<std::size_t>(i)], c);
            REQUIRE(out.view()(i, c) == wanted);
            REQUIRE(narrow_out[static_cast<std::size_t>(i * cols + c)] == bf16(wanted));
        }
    }
}

TEST_CASE("permute: scattered rows are copies at their places, others stay", "[unit]") {
    const index_t cols = GENERATE(1, 16, 35);
    TestSession session(2);
    const TestMatrix x(20, cols, 1);
    const TestMatrix before(40, cols, 2);
    TestMatrix out = before;
    std::vector<index_t> place;
    for (index_t i = 0; i < 20; ++i) place.push_back(39 - 2 * i);
    Tensor there(session.device, DType::i64, {20});
    std::ranges::copy(place, there.values<index_t>().begin());
    SECTION("of a list of the host") {
        ops::scatter_rows(x.view(), place, out.view(), session.context);
    }
    SECTION("of a list in the memory of the device") {
        ops::scatter_rows(x.view(), List<index_t>(there.ref()), out.view(), session.context);
    }
    for (index_t row = 0; row < 40; ++row) {
        for (index_t col = 0; col < cols; ++col)
            REQUIRE(out.view()(row, col) ==
                    (row % 2 == 0 ? before.view()(row, col) : x.view()((39 - row) / 2, col)));
    }
    place.back() = 40;
    CHECK_THROWS_WITH(ops::scatter_rows(x.view(), place, out.view(), session.context),
                      Catch::Contains("place 40 in a matrix of 40 rows"));
}

TEST_CASE("permute: sums are added in the order of the list; empty lists give 0 or leave the row", "[unit]") {
    const index_t cols = GENERATE(1, 16, 35, 64);
    const auto write = GENERATE(Write::overwrite, Write::add);
    const int threads = GENERATE(1, 2, 3);
    TestSession session(threads);
    const TestMatrix x(23, cols, 1);
    std::vector<index_t> offsets{0};
    std::vector<std::int32_t> sources;
    for (std::int32_t r = 0; r < 50; ++r) {
        for (std::int32_t s = 0; s < r * 3 % 7; ++s) sources.push_back((r * 11 + s * 5) % 23);
        offsets.push_back(static_cast<index_t>(sources.size()));
    }
    TestMatrix out(50, cols, 2);
    TestMatrix reference = out;
    TestMatrix ordered = out;
    ops::sum_rows(x.view(), offsets, sources, write, out.view(), session.context);
    ops::ref::sum_rows(x.view(), offsets, sources, write, reference.view());
    CHECK(relative_error(out.values, reference.values) < 1e-6);
    for (index_t r = 0; r < 50; ++r) {
        const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r)]);
        const auto last = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r) + 1]);
        for (index_t c = 0; c < cols; ++c) {
            float sum = write == Write::add ? ordered.view()(r, c) : 0.0F;
            for (std::size_t s = first; s < last; ++s) sum += x.view()(sources[s], c);
            REQUIRE(out.view()(r, c) == sum);
        }
    }
}

TEST_CASE("permute: gathering and summing back is a product with the counts", "[unit]") {
    // Integers, so that every sum is exact.
    TestSession session(2);
    TestMatrix x(6, 20);
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] = static_cast<float>(i);
    const std::vector<std::int32_t> row{5, 0, 5, 3, 5};
    TestMatrix gathered(5, 20);
    ops::gather_rows(x.view(), row, gathered.view(), session.context);
    const std::vector<index_t> offsets{0, 1, 1, 1, 2, 2, 5};
    const std::vector<std::int32_t> sources{1, 3, 0, 2, 4};
    TestMatrix back(6, 20, 3);
    ops::sum_rows(gathered.view(), offsets, sources, Write::overwrite, back.view(), session.context);
    const float counts[] = {1.0F, 0.0F, 0.0F, 1.0F, 0.0F, 3.0F};
    for (index_t r = 0; r < 6; ++r)
        for (index_t c = 0; c < 20; ++c) CHECK(back.view()(r, c) == counts[r] * x.view()(r, c));
}

TEST_CASE("permute: rows that do not exist are named, and lists that do not fit refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 6, 1);
    TestMatrix out(2, 6, 2);
    TestMatrix narrow(2, 5);
    const auto gather = [&](const std::vector<std::int32_t>& row, MatrixView<float> into) {
        ops::gather_rows(x.view(), row, into, session.context);
    };
    CHECK_THROWS_AS(gather({0, 4}, out.view()), ShapeError);
    CHECK_THROWS_AS(gather({-1, 0}, out.view()), ShapeError);
    CHECK_THROWS_WITH(gather({0, 77}, out.view()), Catch::Contains("row 77"));
    CHECK_THROWS_AS(gather({0}, out.view()), ShapeError);
    CHECK_THROWS_AS(gather({0, 1}, narrow.view()), ShapeError);
    std::vector<bf16> rounded(12);
    CHECK_THROWS_AS(ops::gather_rows(x.view(), std::vector<std::int32_t>{0, 1},
                                     MatrixView<bf16>(rounded.data(), 2, 6), session.context),
                    ShapeError);
    const auto sum = [&](const std::vector<index_t>& offsets, const std::vector<std::int32_t>& sources,
                         MatrixView<float> into) {
        ops::sum_rows(x.view(), offsets, sources, Write::add, into, session.context);
    };
    CHECK_THROWS_AS(sum({0, 1, 2}, {0, 4}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({0, 1, 2}, {0, -1}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({0, 1, 3}, {0, 1}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({0, 2}, {0, 1}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({-1, 1, 2}, {0, 1}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({0, 3, 2}, {0, 1}, out.view()), ShapeError);
    CHECK_THROWS_AS(sum({0, 1, 2}, {0, 1}, narrow.view()), ShapeError);
    CHECK_THROWS_AS(sum({}, {}, out.view()), ShapeError);
}

TEST_CASE("permute: sums take any stretch of a longer list of sources", "[unit]") {
    TestSession session;
    const TestMatrix x(6, 20, 1);
    TestMatrix all(3, 20);
    TestMatrix last(2, 20);
    const std::vector<index_t> offsets{0, 2, 3, 5};
    const std::vector<std::int32_t> sources{5, 0, 3, 3, 1};
    ops::sum_rows(x.view(), offsets, sources, Write::overwrite, all.view(), session.context);
    ops::sum_rows(x.view(), std::span<const index_t>(offsets).subspan(1), sources, Write::overwrite,
                  last.view(), session.context);
    CHECK(std::equal(last.values.begin(), last.values.end(), all.values.begin() + 20));
}
