#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/ops/quantize/quantize.hpp"

namespace sy::ops::ref {
namespace {

/// By the definition of the format: s eeee mmm, bias 7; exponent 0 is subnormal.
double decoded(int code) {
    const double sign = (code & 0x80) != 0 ? -1.0 : 1.0;
    const int exponent = (code >> 3) & 15;
    const int mantissa = code & 7;
    if (exponent == 0) return sign * std::ldexp(mantissa, -9);
    return sign * std::ldexp(8 + mantissa, exponent - 10);
}

/// The code without sign that is nearest; of two that are equally near, the even one.
int nearest(double magnitude) {
    constexpr int kLargestCode = 0x7e;
    int best = 0;
    for (int code = 1; code <= kLargestCode; ++code) {
        const double gain = std::abs(decoded(best) - magnitude) - std::abs(decoded(code) - magnitude);
        if (gain > 0.0 || (gain == 0.0 && code % 2 == 0)) best = code;
    }
    return best;
}

index_t codes_end(index_t cols) {
    return (cols + 3) / 4 * 4;
}

}  // namespace

void quantize_rows(MatrixView<const float> x, MatrixView<std::uint8_t> out) {
    for (index_t t = 0; t < x.rows; ++t) {
        std::fill_n(out.row(t), out.cols, std::uint8_t{0});
        for (index_t c = 0; c < x.cols; ++c) {
            const index_t block = c / kQuantizedBlock;
            float largest = 0.0F;
            bool is_finite = true;
            for (index_t i = block * kQuantizedBlock; i < std::min(x.cols, (block + 1) * kQuantizedBlock);
                 ++i) {
                largest = std::max(largest, std::abs(x(t, i)));
                is_finite = is_finite && std::isfinite(x(t, i));
            }
            const float scale = is_finite ? std::max(largest / 448.0F, std::numeric_limits<float>::min())
                                          : std::numeric_limits<float>::quiet_NaN();
            std::memcpy(out.row(t) + codes_end(x.cols) + block * 4, &scale, sizeof(scale));
            if (!is_finite) continue;
            const int sign = std::signbit(x(t, c)) ? 0x80 : 0;
            out(t, c) = static_cast<std::uint8_t>(sign | nearest(std::abs(x(t, c) / scale)));
        }
    }
}

void dequantize_rows(MatrixView<const std::uint8_t> x, std::span<const std::int32_t> row,
                     MatrixView<float> out) {
    for (index_t i = 0; i < out.rows; ++i) {
        const std::uint8_t* const bytes = x.row(row[static_cast<std::size_t>(i)]);
        for (index_t c = 0; c < out.cols; ++c) {
            float scale = 0.0F;
            std::memcpy(&scale, bytes + codes_end(out.cols) + c / kQuantizedBlock * 4, sizeof(scale));
            out(i, c) = static_cast<float>(decoded(bytes[c])) * scale;
        }
    }
}

}  // namespace sy::ops::ref
