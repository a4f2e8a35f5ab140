#include "kernels/ops/heads/heads.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

/// The matrices of one call, filled with numbers that depend on `stream` alone.
struct Heads {
    TestMatrix expanded, rotary, k, v;

    Heads(const ops::HeadWidths& widths, index_t rows, std::uint64_t stream)
        : expanded(rows, widths.expanded(), stream),
          rotary(rows, widths.rotary, stream + 1),
          k(rows, widths.heads * widths.key(), stream + 2),
          v(rows, widths.heads * widths.value, stream + 3) {}
};

}  // namespace

TEST_CASE("heads: keys and values are spread as in the reference", "[unit]") {
    const auto widths =
        GENERATE(ops::HeadWidths{1, 4, 2, 3}, ops::HeadWidths{3, 17, 8, 16}, ops::HeadWidths{5, 16, 20, 1});
    const index_t rows = GENERATE(0, 1, 30);
    TestSession session(GENERATE(1, 3));
    Heads got(widths, rows, 1);
    Heads wanted = got;
    ops::spread_heads(widths, got.expanded.view(), got.rotary.view(), got.k.view(), got.v.view(),
                      session.context);
    ops::ref::spread_heads(widths, wanted.expanded.view(), wanted.rotary.view(), wanted.k.view(),
                           wanted.v.view());
    CHECK(test::same_bits(got.k.values, wanted.k.values));
    CHECK(test::same_bits(got.v.values, wanted.v.values));
}

TEST_CASE("heads: of one row by hand", "[unit]") {
    TestSession session;
    const ops::HeadWidths widths{2, 2, 1, 1};
    Heads heads(widths, 1, 1);
    heads.expanded.values = {1, 2, 3, 4, 5, 6};
    heads.rotary.values = {7};
    ops::spread_heads(widths, heads.expanded.view(), heads.rotary.view(), heads.k.view(), heads.v.view(),
                      session.context);
    CHECK(heads.k.values == std::vector<float>{1, 2, 7, 4, 5, 7});
    CHECK(heads.v.values == std::vector<float>{3, 6});
    ops::gather_heads(widths, heads.k.view(), heads.v.view(), heads.expanded.view(), heads.rotary.view(),
                      session.context);
    CHECK(heads.expanded.values == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(heads.rotary.values == std::vector<float>{14});
}

TEST_CASE("heads: gradients are gathered as in the reference, those of the rotary part in the heads' order",
          "[unit]") {
    const auto widths =
        GENERATE(ops::HeadWidths{1, 4, 2, 3}, ops::HeadWidths{3, 17, 8, 16}, ops::HeadWidths{5, 16, 20, 1});
    const index_t rows = GENERATE(1, 30);
    TestSession session(GENERATE(1, 3));
    Heads got(widths, rows, 1);
    Heads wanted = got;
    ops::gather_heads(widths, got.k.view(), got.v.view(), got.expanded.view(), got.rotary.view(),
                      session.context);
    ops::ref::gather_heads(widths, wanted.k.view(), wanted.v.view(), wanted.expanded.view(),
                           wanted.rotary.view());
    CHECK(test::same_bits(got.expanded.values, wanted.expanded.values));
    CHECK(test::relative_error(got.rotary.values, wanted.rotary.values) < 1e-6);
    for (index_t t = 0; t < rows; ++t) {
        for (index_t i = 0; i < widths.rotary; ++i) {
            float sum = 0.0F;
            for (index_t h = 0; h < widths.heads; ++h)
                sum += got.k.view()(t, h * widths.key() + widths.plain + i);
            REQUIRE(got.rotary.view()(t, i) == sum);
        }
    }
}

TEST_CASE("heads: sides that do not fit are refused, each of the four", "[unit]") {
    TestSession session;
    const ops::HeadWidths widths{2, 4, 2, 3};
    Heads heads(widths, 5, 1);
    for (TestMatrix Heads::*side : {&Heads::expanded, &Heads::rotary, &Heads::k, &Heads::v}) {
        for (const auto& [more_rows, more_cols] : {std::pair<index_t, index_t>{1, 0}, {0, 1}}) {
            Heads bad = heads;
            bad.*side = TestMatrix((heads.*side).rows + more_rows, (heads.*side).cols + more_cols);
            CHECK_THROWS_AS(ops::spread_heads(widths, bad.expanded.view(), bad.rotary.view(), bad.k.view(),
                                              bad.v.view(), session.context),
                            ShapeError);
            CHECK_THROWS_AS(ops::gather_heads(widths, bad.k.view(), bad.v.view(), bad.expanded.view(),
                                              bad.rotary.view(), session.context),
                            ShapeError);
        }
    }
}
