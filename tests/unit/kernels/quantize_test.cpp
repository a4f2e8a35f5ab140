#include "kernels/ops/quantize/quantize.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

struct Quantized {
    index_t cols;
    std::vector<std::uint8_t> bytes;

    Quantized(index_t rows, index_t cols_)
        : cols(cols_), bytes(static_cast<std::size_t>(rows * ops::quantized_row_bytes(cols_)), 0xee) {}
    index_t row_bytes() const { return ops::quantized_row_bytes(cols); }
    index_t rows() const { return static_cast<index_t>(bytes.size()) / row_bytes(); }
    MatrixView<std::uint8_t> view() { return {bytes.data(), rows(), row_bytes()}; }
};

std::vector<std::int32_t> all_rows(index_t count) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
}

/// The same bytes as the search among all codes, NaN of any kind for NaN of any kind.
void require_as_reference(TestMatrix& x) {
    TestSession session(2);
    Quantized fast(x.view().rows, x.view().cols);
    Quantized reference = fast;
    ops::quantize_rows(x.view(), fast.view(), session.context);
    ops::ref::quantize_rows(x.view(), reference.view());
    TestMatrix values(x.view().rows, x.view().cols);
    TestMatrix expected = values;
    const std::vector<std::int32_t> rows = all_rows(x.view().rows);
    ops::dequantize_rows(fast.view(), rows, values.view(), session.context);
    ops::ref::dequantize_rows(reference.view(), rows, expected.view());
    for (std::size_t i = 0; i < values.values.size(); ++i) {
        INFO("value " << i << ", " << x.values[i]);
        if (std::isnan(expected.values[i])) {
            REQUIRE(std::isnan(values.values[i]));
        } else {
            REQUIRE(std::memcmp(&values.values[i], &expected.values[i], sizeof(float)) == 0);
        }
    }
}

}  // namespace

TEST_CASE("quantize: codes are the nearest ones, for any width", "[unit]") {
    const index_t cols = GENERATE(1, 5, 16, 127, 128, 129, 300);
    TestMatrix x(7, cols, 3);
    // Magnitudes over many binades, so that small codes occur.
    for (std::size_t i = 0; i < x.values.size(); ++i)
        x.values[i] = std::ldexp(x.values[i], -static_cast<int>(i % 17));
    require_as_reference(x);
}

TEST_CASE("quantize: every code and every middle between two, rounded to even", "[unit]") {
    TestMatrix x(4, 128);
    // With 448 in a block the scale is 1.
    std::vector<float> magnitudes;
    for (int code = 0; code <= 0x7e; ++code) {
        const float step = std::ldexp(1.0F, std::max(code >> 3, 1) - 10);
        const float value = (code >> 3) == 0 ? static_cast<float>(code) * 0x1p-9F
                                             : std::ldexp(static_cast<float>(8 + code % 8), (code >> 3) - 10);
        magnitudes.push_back(value);
        if (code < 0x7e) magnitudes.push_back(value + step / 2);
    }
    for (std::size_t i = 0; i < x.values.size(); ++i)
        x.values[i] = i % 128 == 0 ? 448.0F : magnitudes[i % magnitudes.size()] * (i % 3 == 0 ? -1.0F : 1.0F);
    require_as_reference(x);
}

TEST_CASE("quantize: zeros keep their sign, tiny and huge blocks their values, and what is not finite shows",
          "[unit]") {
    TestMatrix x(6, 130);
    std::fill(x.values.begin(), x.values.end(), 0.0F);
    const MatrixView<float> view = x.view();
    view(0, 3) = -0.0F;
    for (index_t c = 0; c < 130; ++c) {
        view(1, c) = std::numeric_limits<float>::denorm_min() * static_cast<float>(c);
        view(2, c) = std::numeric_limits<float>::max() / static_cast<float>(c + 1);
    }
    view(3, 7) = std::numeric_limits<float>::infinity();
    view(4, 129) = std::numeric_limits<float>::quiet_NaN();
    view(4, 0) = 1.0F;
    require_as_reference(x);

    TestSession session;
    Quantized quantized(6, 130);
    ops::quantize_rows(x.view(), quantized.view(), session.context);
    TestMatrix back(6, 130, 1);
    ops::dequantize_rows(quantized.view(), all_rows(6), back.view(), session.context);
    CHECK(std::signbit(back.view()(0, 3)));
    CHECK(back.view()(2, 0) == std::numeric_limits<float>::max());
    CHECK(std::isnan(back.view()(3, 0)));
    CHECK(back.view()(3, 128) == 0.0F);  // in the next block
    CHECK(back.view()(4, 0) == 1.0F);
    CHECK(std::isnan(back.view()(4, 128)));
}

TEST_CASE("quantize: a value is off by at most a sixteenth of itself, or a thousandth of the scale",
          "[unit]") {
    const index_t cols = 513;
    TestSession session(3);
    TestMatrix x(20, cols, 9, 30.0F);
    Quantized quantized(20, cols);
    ops::quantize_rows(x.view(), quantized.view(), session.context);
    TestMatrix back(20, cols);
    ops::dequantize_rows(quantized.view(), all_rows(20), back.view(), session.context);
    for (index_t t = 0; t < 20; ++t) {
        for (index_t c = 0; c < cols; ++c) {
            float scale = 0.0F;
            std::memcpy(&scale, quantized.view().row(t) + 516 + c / 128 * 4, sizeof(scale));
            const float error = std::abs(back.view()(t, c) - x.view()(t, c));
            REQUIRE(error <= std::max(std::abs(x.view()(t, c)) / 16.0F, scale / 1024.0F) * 1.000001F);
        }
    }
}

TEST_CASE("quantize: bf16 rows, and rows in any order, as bf16", "[unit]") {
    TestSession session(2);
    TestMatrix x(5, 200, 4);
    std::vector<bf16> narrow;
    for (float& value : x.values) {
        narrow.emplace_back(value);
        value = static_cast<float>(narrow.back());
    }
    Quantized from_floats(5, 200);
    Quantized from_bf16(5, 200);
    ops::quantize_rows(x.view(), from_floats.view(), session.context);
    ops::quantize_rows(MatrixView<const bf16>(narrow.data(), 5, 200), from_bf16.view(), session.context);
    CHECK(from_floats.bytes == from_bf16.bytes);
    const std::vector<std::int32_t> rows{4, 0, 4, 2};
    TestMatrix floats(4, 200);
    std::vector<bf16> rounded(4 * 200);
    ops::dequantize_rows(from_floats.view(), rows, floats.view(), session.context);
    ops::dequantize_rows(from_floats.view(), rows, MatrixView<bf16>(rounded.data(), 4, 200), session.context);
    for (std::size_t i = 0; i < rounded.size(); ++i) REQUIRE(rounded[i] == bf16(floats.values[i]));
    CHECK(std::equal(floats.view().row(0), floats.view().row(0) + 200, floats.view().row(2)));
}

TEST_CASE("quantize: rows and sides that do not fit are refused", "[unit]") {
    TestSession session;
    TestMatrix x(2, 9, 1);
    Quantized quantized(2, 9);
    Quantized wide(2, 13);
    TestMatrix out(2, 9);
    CHECK_THROWS_AS(ops::quantize_rows(x.view(), wide.view(), session.context), ShapeError);
    ops::quantize_rows(x.view(), quantized.view(), session.context);
    const auto decode = [&](std::vector<std::int32_t> rows, MatrixView<float> into) {
        ops::dequantize_rows(quantized.view(), rows, into, session.context);
    };
    CHECK_THROWS_WITH(decode({0, 2}, out.view()), Catch::Contains("row 2"));
    CHECK_THROWS_AS(decode({0, -1}, out.view()), ShapeError);
    CHECK_THROWS_AS(decode({0}, out.view()), ShapeError);
    TestMatrix narrow(2, 3);
    CHECK_THROWS_AS(decode({0, 1}, narrow.view()), ShapeError);
}
