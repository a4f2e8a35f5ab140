// Matrix products under every instruction set that the machine has: against sums in double, and to the last bit against
// chains written out here.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/session.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Transpose;

namespace {

std::vector<Isa> isas_of_this_machine() {
    std::vector<Isa> isas;
    for (const Isa isa : kIsas)
        if (isa <= best_isa()) isas.push_back(isa);
    return isas;
}

/// Whether products are chains of float32 multiply-adds, for bf16 of the widened numbers.
template <class In>
bool rounds_every_step(Isa isa) {
    return std::is_same_v<In, float> || isa < Isa::avx512_bf16;
}

/// Rows that are `stride` elements apart, as they may lie in a larger matrix. What lies between is NaN.
template <class In>
struct Operand {
    std::vector<In> values;
    MatrixView<In> view;

    Operand(index_t rows, index_t cols, index_t stride, std::uint64_t stream)
        : values(static_cast<std::size_t>(rows * stride), In(std::numeric_limits<float>::quiet_NaN())),
          view(values.data(), rows, cols, stride) {
        std::uint64_t i = 0;
        for (index_t row = 0; row < rows; ++row) {
            for (In& value : view.row_span(row)) value = In(normal({stream, 0, 0, RandomPurpose::test}, i++));
        }
    }
};

struct Sides {
    index_t m, n, k;
    index_t extra = 0;  ///< elements between rows
};

template <class In>
struct Case {
    Operand<In> a;
    Operand<In> b;
    Operand<float> c;
    ops::HostProduct<In> product;

    Case(const Sides& s, Transpose ta, Transpose tb, Write write)
        : a(ta == Transpose::no ? s.m : s.k, ta == Transpose::no ? s.k : s.m,
            (ta == Transpose::no ? s.k : s.m) + s.extra, 1),
          b(tb == Transpose::no ? s.k : s.n, tb == Transpose::no ? s.n : s.k,
            (tb == Transpose::no ? s.n : s.k) + s.extra, 2),
          c(s.m, s.n, s.n + s.extra, 3),
          product{a.view, ta, b.view, tb, c.view, write} {}
};

/// What `isa` makes of a case's product; the case's C is afterwards as it was.
template <class In>
std::vector<float> product_under(Isa isa, Case<In>& a_case) {
    const std::vector<float> before = a_case.c.values;
    ops::Gemm(isa).multiply(a_case.product);
    std::vector<float> after = a_case.c.values;
    std::ranges::copy(before, a_case.c.values.begin());
    return after;
}

template <class In>
float element_of_a(const ops::HostProduct<In>& p, index_t m, index_t k) {
    return static_cast<float>(p.transpose_a == Transpose::no ? p.a(m, k) : p.a(k, m));
}
template <class In>
float element_of_b(const ops::HostProduct<In>& p, index_t k, index_t n) {
    return static_cast<float>(p.transpose_b == Transpose::no ? p.b(k, n) : p.b(n, k));
}

/// One chain of multiply-adds over ascending k.
template <class In>
float chain(const ops::HostProduct<In>& p, index_t num_k, index_t m, index_t n) {
    float sum = p.write == Write::overwrite ? 0.0F : p.c(m, n);
    for (index_t k = 0; k < num_k; ++k) sum = std::fma(element_of_a(p, m, k), element_of_b(p, k, n), sum);
    return sum;
}

/// One chain of the matrix unit's steps (kernels/ops/gemm/tile_unit.hpp).
template <class In>
float chain_of_tiles(const ops::HostProduct<In>& p, index_t num_k, index_t m, index_t n) {
    float sum = p.write == Write::overwrite ? 0.0F : p.c(m, n);
    for (index_t first = 0; first < num_k; first += 32) {
        float parts[2] = {0.0F, 0.0F};
        for (index_t k = first; k < std::min(first + 32, num_k); ++k) {
            float& part = parts[k % 2];
            part = std::fma(element_of_a(p, m, k), element_of_b(p, k, n), part);
        }
        sum += parts[0] + parts[1];
    }
    return sum;
}

template <class In>
std::vector<float> elements(const MatrixView<In>& x) {
    std::vector<float> all;
    for (index_t row = 0; row < x.rows; ++row)
        for (const In& value : x.row_span(row)) all.push_back(static_cast<float>(value));
    return all;
}

// One row to more than a block of rows; few columns to many panels; sums of nothing, odd ones, and several blocks; rows
// that lie in larger matrices, odd numbers of elements apart or whole pages.
const std::vector<Sides> kSides{
    {1, 1, 1},     {1, 300, 70, 3}, {2, 200, 33},   {3, 131, 17, 1}, {4, 97, 64},   {5, 64, 129},
    {7, 33, 5, 5}, {8, 50, 40},     {12, 48, 31},   {13, 520, 257},  {29, 65, 600}, {60, 40, 1030, 2},
    {97, 9, 50},   {100, 8, 12, 7}, {150, 70, 300}, {400, 36, 20},   {6, 40, 1024}, {30, 33, 2048},
    {5, 7, 0},     {0, 7, 5},       {7, 0, 5}};

}  // namespace

TEMPLATE_TEST_CASE("gemm: agrees with sums in double, whatever is transposed", "[unit]", float, bf16) {
    const auto ta = GENERATE(Transpose::no, Transpose::yes);
    const auto tb = GENERATE(Transpose::no, Transpose::yes);
    for (const Sides& sides : kSides) {
        for (const Write write : {Write::overwrite, Write::add}) {
            Case<TestType> tried(sides, ta, tb, write);
            Case<TestType> expected(sides, ta, tb, write);
            ops::ref::multiply(expected.product);
            for (const Isa isa : isas_of_this_machine()) {
                CAPTURE(isa_name(isa), sides.m, sides.n, sides.k, write == Write::add);
                const std::vector<float> c = product_under(isa, tried);
                CHECK(test::relative_error(elements(MatrixView<const float>(c.data(), sides.m, sides.n,
                                                                            sides.n + sides.extra)),
                                           elements(expected.c.view)) < 3e-6);
            }
        }
    }
}

TEMPLATE_TEST_CASE("gemm: every element is one chain of multiply-adds, to the last bit", "[unit]", float,
                   bf16) {
    const auto ta = GENERATE(Transpose::no, Transpose::yes);
    const auto tb = GENERATE(Transpose::no, Transpose::yes);
    for (const Sides& sides : kSides) {
        for (const Write write : {Write::overwrite, Write::add}) {
            Case<TestType> tried(sides, ta, tb, write);
            const auto written = [&](auto&& element) {
                Case<TestType> by_hand(sides, ta, tb, write);
                for (index_t m = 0; m < sides.m; ++m)
                    for (index_t n = 0; n < sides.n; ++n)
                        by_hand.c.view(m, n) = element(by_hand.product, sides.k, m, n);
                return by_hand.c.values;
            };
            const std::vector<float> expected = written(chain<TestType>);
            for (const Isa isa : isas_of_this_machine()) {
                CAPTURE(isa_name(isa), sides.m, sides.n, sides.k, write == Write::add);
                // C, and nothing beside it.
                if (rounds_every_step<TestType>(isa)) {
                    CHECK(test::same_bits<float>(product_under(isa, tried), expected));
                } else if (isa == Isa::amx_bf16) {
                    CHECK(
                        test::same_bits<float>(product_under(isa, tried), written(chain_of_tiles<TestType>)));
                }
            }
        }
    }
}

TEST_CASE("gemm: with a matrix unit, numbers near zero count alike for one row and for many", "[unit]") {
    if (best_isa() < Isa::amx_bf16) return;
    const Sides sides{40, 50, 70};
    Case<bf16> many(sides, Transpose::no, Transpose::no, Write::overwrite);
    // Subnormal operands, products and sums beside normal ones.
    for (index_t i = 0; i < sides.k; ++i) {
        for (index_t m = 0; m < sides.m; ++m)
            many.a.view(m, i) =
                bf16(std::ldexp(static_cast<float>(many.a.view(m, i)), -static_cast<int>(i % 3) * 66));
        for (index_t n = 0; n < sides.n; ++n)
            many.b.view(i, n) =
                bf16(std::ldexp(static_cast<float>(many.b.view(i, n)), -static_cast<int>(n % 4) * 33));
    }
    const ops::Gemm gemm(Isa::amx_bf16);
    gemm.multiply(many.product);
    for (index_t m = 0; m < sides.m; ++m) {
        Operand<float> c(1, sides.n, sides.n, 9);
        gemm.multiply<bf16>(
            {many.product.a.rows_of({m, m + 1}), Transpose::no, many.product.b, Transpose::no, c.view});
        CHECK(test::same_bits(elements(c.view), elements(many.c.view.rows_of({m, m + 1}))));
    }
}

TEMPLATE_TEST_CASE("gemm: a row has the same bits alone, among others, and transposed", "[unit]", float,
                   bf16) {
    const Sides sides{401, 100, 525};
    const auto ta = GENERATE(Transpose::no, Transpose::yes);
    const auto tb = GENERATE(Transpose::no, Transpose::yes);
    for (const Isa isa : isas_of_this_machine()) {
        const ops::Gemm gemm(isa);
        Case<TestType> whole(sides, Transpose::no, Transpose::no, Write::overwrite);
        gemm.multiply(whole.product);
        // The same numbers, stored the other way.
        Case<TestType> turned(sides, ta, tb, Write::overwrite);
        for (index_t k = 0; k < sides.k; ++k) {
            for (index_t m = 0; m < sides.m && ta == Transpose::yes; ++m)
                turned.a.view(k, m) = whole.a.view(m, k);
            for (index_t n = 0; n < sides.n && tb == Transpose::yes; ++n)
                turned.b.view(n, k) = whole.b.view(k, n);
        }
        for (const Range rows : {Range{0, 1}, Range{5, 8}, Range{17, 40}, Range{150, 350}, Range{0, 401}}) {
            for (const Range cols : {Range{0, 100}, Range{3, 10}, Range{20, 85}}) {
                CAPTURE(isa_name(isa), rows.begin, rows.end, cols.begin, cols.end);
                ops::HostProduct<TestType> part = turned.product;
                part.a = ta == Transpose::no ? part.a.rows_of(rows) : part.a.cols_of(rows);
                part.b = tb == Transpose::no ? part.b.cols_of(cols) : part.b.rows_of(cols);
                Operand<float> c(rows.size(), cols.size(), cols.size(), 9);
                part.c = c.view;
                gemm.multiply(part);
                const MatrixView<float> expected = whole.c.view.rows_of(rows).cols_of(cols);
                CHECK(test::same_bits(elements(c.view), elements(expected)));
            }
        }
    }
}

TEMPLATE_TEST_CASE("gemm: few rows have the bits of many, whatever columns the widest tiles leave", "[unit]",
                   float, bf16) {
    constexpr index_t kMostCols = 424;
    for (const Isa isa : isas_of_this_machine()) {
        const ops::Gemm gemm(isa);
        Case<TestType> whole({120, kMostCols, 9}, Transpose::no, Transpose::no, Write::overwrite);
        gemm.multiply(whole.product);
        for (index_t rows = 1; rows <= 13; ++rows) {
            for (index_t cols = 8; cols <= kMostCols; cols += 8) {
                Operand<float> c(rows, cols, cols + 3, 9);
                std::vector<float> expected = c.values;
                for (index_t row = 0; row < rows; ++row)
                    std::copy_n(whole.c.view.row(row), cols, expected.begin() + row * (cols + 3));
                gemm.multiply<TestType>({whole.product.a.rows_of({0, rows}), Transpose::no,
                                         whole.product.b.cols_of({0, cols}), Transpose::no, c.view});
                CAPTURE(isa_name(isa), rows, cols);
                // C, and nothing beside it.
                CHECK(test::same_bits<float>(c.values, expected));
            }
        }
    }
}

TEMPLATE_TEST_CASE("gemm: infinities and NaN stay in their rows and columns", "[unit]", float, bf16) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (const Isa isa : isas_of_this_machine()) {
        for (const index_t rows : {index_t{3}, index_t{120}}) {
            Case<TestType> tried({rows, 40, 33}, Transpose::no, Transpose::no, Write::overwrite);
            tried.a.view(1, 32) = TestType(kInfinity);
            tried.b.view(2, 7) = TestType(std::numeric_limits<float>::quiet_NaN());
            ops::Gemm(isa).multiply(tried.product);
            for (index_t m = 0; m < rows; ++m) {
                for (index_t n = 0; n < 40; ++n) {
                    CAPTURE(isa_name(isa), rows, m, n);
                    const float value = tried.c.view(m, n);
                    if (n == 7)
                        CHECK(std::isnan(value));
                    else if (m == 1)
                        CHECK(std::isinf(value));
                    else
                        CHECK(std::isfinite(value));
                }
            }
        }
    }
}

TEMPLATE_TEST_CASE("gemm: a fixed-point gradient receives the bits of the product of each block of rows",
                   "[unit]", float, bf16) {
    for (const Isa isa : isas_of_this_machine()) {
        const ops::Gemm gemm(isa);
        for (const std::vector<index_t>& blocks :
             {std::vector<index_t>{0, 33}, {0, 0, 7, 8, 8, 100, 356}, {3, 40, 740, 741, 1400}, {5, 5}, {}}) {
            for (const auto& [m, n] : {std::pair<index_t, index_t>{70, 45}, {13, 100}, {400, 8}, {1, 1}}) {
                CAPTURE(isa_name(isa), m, n, blocks);
                const Sides sides{m, n, blocks.empty() ? 4 : blocks.back() + 2, 1};
                Case<TestType> tried(sides, Transpose::yes, Transpose::no, Write::overwrite);
                const index_t rows = m + 3;
                const index_t cols = n + 2;
                std::vector<std::int64_t> sums(static_cast<std::size_t>(rows * cols), 5);
                std::vector<std::int64_t> expected = sums;
                std::uint8_t overflow = 0;
                for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
                    const Range block{blocks[b], blocks[b + 1]};
                    gemm.multiply<TestType>({tried.a.view.rows_of(block), Transpose::yes,
                                             tried.b.view.rows_of(block), Transpose::no, tried.c.view});
                    accumulate(tried.c.view, 2, 1, {nullptr, expected.data(), rows, cols, &overflow});
                }
                const GradientView gradient{nullptr, sums.data(), rows, cols, &overflow};
                gemm.add_to_gradient<TestType>(
                    {tried.a.view, tried.b.view, blocks, gradient, 2, 1, tried.c.view});
                CHECK(sums == expected);
                CHECK_FALSE(overflow);
            }
        }
    }
}

TEMPLATE_TEST_CASE("gemm: a fixed-point gradient takes no addend beyond its limit, and says so", "[unit]",
                   float, bf16) {
    const float limit = GENERATE(kGradientLimit, 2.0F, 0.0F);
    const float bad = GENERATE(values<float>(
        {1.0F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}));
    for (const Isa isa : isas_of_this_machine()) {
        const ops::Gemm gemm(isa);
        const std::vector<index_t> blocks{0, 6, 12};
        Case<TestType> tried({30, 70, 12}, Transpose::yes, Transpose::no, Write::overwrite);
        tried.a.view(4, 17) = TestType(bad);
        std::vector<std::int64_t> sums(30 * 70, 5);
        std::vector<std::int64_t> expected = sums;
        std::uint8_t overflow = 0;
        std::uint8_t overflow_expected = 0;
        for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
            const Range block{blocks[b], blocks[b + 1]};
            gemm.multiply<TestType>({tried.a.view.rows_of(block), Transpose::yes, tried.b.view.rows_of(block),
                                     Transpose::no, tried.c.view});
            accumulate(tried.c.view, 0, 0, {nullptr, expected.data(), 30, 70, &overflow_expected, limit});
        }
        const GradientView gradient{nullptr, sums.data(), 30, 70, &overflow, limit};
        gemm.add_to_gradient<TestType>({tried.a.view, tried.b.view, blocks, gradient, 0, 0, tried.c.view});
        CAPTURE(isa_name(isa), limit, bad);
        CHECK(sums == expected);
        CHECK(overflow == overflow_expected);
        CHECK((overflow != 0) == (limit < kGradientLimit || !std::isfinite(bad)));
    }
}

TEST_CASE("gemm: sides that do not fit are refused", "[unit]") {
    const ops::Gemm gemm;
    Case<float> tried({3, 4, 5}, Transpose::no, Transpose::no, Write::overwrite);
    const auto refused = [&](auto change) {
        ops::HostProduct<float> product = tried.product;
        change(product);
        CHECK_THROWS_AS(gemm.multiply(product), ShapeError);
    };
    refused([](auto& p) { p.a.rows = 2; });
    refused([](auto& p) { p.b.rows = 4; });
    refused([](auto& p) { p.c.cols = 3; });
    refused([](auto& p) { p.transpose_b = Transpose::yes; });
}

TEMPLATE_TEST_CASE("gemm: a product over the team is that of one thread", "[unit]", float, bf16) {
    const int threads = GENERATE(1, 3);
    test::TestSession session(threads);
    Case<TestType> whole({200, 150, 40, 3}, Transpose::no, Transpose::yes, Write::add);
    const std::vector<float> before = whole.c.values;
    session.device.gemm().multiply(whole.product);
    const std::vector<float> expected = whole.c.values;
    std::ranges::copy(before, whole.c.values.begin());
    ops::multiply({whole.a.view, Transpose::no, whole.b.view, Transpose::yes, whole.c.view, Write::add},
                  session.context);
    CHECK(test::same_bits(elements(whole.c.view),
                          elements(MatrixView<const float>(expected.data(), 200, 150, whole.c.view.stride))));
}

TEST_CASE("gemm: dtypes that do not fit are refused", "[unit]") {
    test::TestSession session;
    const Operand<float> x(4, 6, 6, 1);
    const Operand<bf16> rounded(4, 6, 6, 1);
    Operand<float> sums(6, 6, 6, 2);
    Operand<bf16> rounded_sums(6, 6, 6, 2);
    using enum Transpose;
    CHECK_NOTHROW(ops::multiply({x.view, yes, x.view, no, sums.view}, session.context));
    CHECK_THROWS_AS(ops::multiply({x.view, yes, rounded.view, no, sums.view}, session.context), ShapeError);
    CHECK_THROWS_AS(ops::multiply({x.view, yes, x.view, no, rounded_sums.view}, session.context), ShapeError);
    const GradientView gradient{sums.values.data(), nullptr, 6, 6, nullptr};
    CHECK_NOTHROW(ops::add_weight_gradient(x.view, x.view, 4, gradient, session.context));
    CHECK_THROWS_AS(ops::add_weight_gradient(x.view, rounded.view, 4, gradient, session.context), ShapeError);
}
