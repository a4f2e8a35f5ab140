#include "kernels/core/gradient.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/core/gradient_units.hpp"
#include "kernels/core/simd.hpp"

namespace sy {
namespace {

// A float below 2^10 becomes units of 2^-46, below 2^56, by additions to numbers so large that the sum's last place is a
// whole unit: first the multiple of 2^24 units next to it, then, exact until its only rounding (a float has 24 bits),
// what remains. The integers stand in the low bits of the two sums. What else the bits hold is the same for all addends
// and chosen to cancel.
constexpr double kScale = 1.0 / kGradientUnit;
constexpr double kUpperMagic = 0x1.8p76 + 0xbcc8p48;
constexpr double kLowerMagic = 0x1.8p52;
static_assert((std::bit_cast<std::uint64_t>(kUpperMagic) << 24) + std::bit_cast<std::uint64_t>(kLowerMagic) ==
              0);

// Bodies of one row: they return whether an addend was out of range. Sums are modulo 2^64, so that partial sums beyond
// the range do no harm if the whole is within it.
bool accumulate_fixed_plain(const float* addends, index_t count, float limit, std::int64_t* sums) {
    const auto limit_bits = std::bit_cast<std::uint32_t>(limit);
    std::uint32_t out_of_range = 0;
    for (index_t i = 0; i < count; ++i) {
        // All ones when |addend| < limit: bit patterns of floats are in order, with infinity and NaN at the top.
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(addends[i]);
        const std::uint32_t good = 0U - (((bits & 0x7fffffffU) - limit_bits) >> 31);
        out_of_range |= ~good;
        const double units = static_cast<double>(std::bit_cast<float>(bits & good)) * kScale;
        const double upper = units + kUpperMagic;
        const double lower = (units - (upper - kUpperMagic)) + kLowerMagic;
        const std::uint64_t whole =
            (std::bit_cast<std::uint64_t>(upper) << 24) + std::bit_cast<std::uint64_t>(lower);
        sums[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(sums[i]) + whole);
    }
    return out_of_range != 0;
}

#if defined(__x86_64__)
#define SY_AVX2 __attribute__((target("arch=x86-64-v3")))
#define SY_AVX512 __attribute__((target("arch=x86-64-v4")))

SY_AVX2 bool accumulate_rows_avx2(MatrixView<const float> addends, float limit, std::int64_t* sums,
                                  index_t pitch) {
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    const __m256i limit_bits = _mm256_set1_epi32(std::bit_cast<std::int32_t>(std::min(limit, kOneStepLimit)));
    const auto size_bits = [no_sign](const float* at) SY_AVX2 {
        return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), no_sign);
    };
    bool bad = false;
    for (index_t row = 0; row < addends.rows; ++row) {
        const float* const from = addends.data + row * addends.stride;
        std::int64_t* const to = sums + row * pitch;
        index_t i = 0;
        for (; i + 16 <= addends.cols; i += 16) {
            // As integers sizes are in order, with infinity and NaN at the top.
            const __m256i largest = _mm256_max_epi32(size_bits(from + i), size_bits(from + i + 8));
            if (_mm256_movemask_epi8(_mm256_cmpgt_epi32(limit_bits, largest)) != -1) {
                bad |= accumulate_fixed_plain(from + i, 16, limit, to + i);
                continue;
            }
            for (index_t j = i; j < i + 16; j += 4) add_units_avx2(_mm_loadu_ps(from + j), to + j);
        }
        if (i < addends.cols) bad |= accumulate_fixed_plain(from + i, addends.cols - i, limit, to + i);
    }
    return bad;
}

/// With the instruction that rounds a float to a 64-bit integer.
SY_AVX512 bool accumulate_rows_avx512(MatrixView<const float> addends, float limit, std::int64_t* sums,
                                      index_t pitch) {
    const __m256 limits = _mm256_set1_ps(limit);
    const __m256 sign = _mm256_set1_ps(-0.0F);
    __mmask8 all_good = 0xff;
    bool bad = false;
    for (index_t row = 0; row < addends.rows; ++row) {
        const float* const from = addends.data + row * addends.stride;
        std::int64_t* const to = sums + row * pitch;
        index_t i = 0;
        for (; i + 8 <= addends.cols; i += 8) {
            const __m256 addend = _mm256_loadu_ps(from + i);
            const __mmask8 good = _mm256_cmp_ps_mask(_mm256_andnot_ps(sign, addend), limits, _CMP_LT_OQ);
            all_good &= good;
            add_units_avx512(_mm256_maskz_mov_ps(good, addend), to + i);
        }
        if (i < addends.cols) bad |= accumulate_fixed_plain(from + i, addends.cols - i, limit, to + i);
    }
    return bad || all_good != 0xff;
}
#endif

/// @return whether an addend was out of range
bool accumulate_rows_fixed(MatrixView<const float> addends, float limit, std::int64_t* sums, index_t pitch) {
#if defined(__x86_64__)
    if (isa() >= Isa::avx512) return accumulate_rows_avx512(addends, limit, sums, pitch);
    if (isa() == Isa::avx2) return accumulate_rows_avx2(addends, limit, sums, pitch);
#endif
    bool bad = false;
    for (index_t row = 0; row < addends.rows; ++row)
        bad |= accumulate_fixed_plain(addends.row(row), addends.cols, limit, sums + row * pitch);
    return bad;
}

void accumulate_f32(const float* addends, index_t count, float* sums) {
    simd::for_isa([=]() SY_BODY {
        for (index_t i = 0; i < count; ++i) sums[i] += addends[i];
    });
}

void convert_fixed(const std::int64_t* sums, index_t count, float* values) {
    simd::for_isa([=]() SY_BODY {
        // By way of double it would be rounded twice. The product is exact: a power of two, no subnormals.
        for (index_t i = 0; i < count; ++i)
            values[i] = static_cast<float>(sums[i]) * static_cast<float>(kGradientUnit);
    });
}

}  // namespace

GradientView::operator GradientRef() const {
    const TensorRef flag = overflow == nullptr ? TensorRef() : TensorRef(MatrixView(overflow, 1, 1));
    const TensorRef sums =
        fixed != nullptr ? TensorRef(MatrixView(fixed, rows, cols)) : TensorRef(MatrixView(f32, rows, cols));
    return {sums, flag, limit};
}

GradientView host_gradient(const GradientRef& gradient) {
    GradientView view{.rows = gradient.rows(), .cols = gradient.cols(), .limit = gradient.limit};
    if (gradient.is_null()) return view;
    if (!gradient.is_fixed()) {
        view.f32 = host_values<float>(gradient.sums).data();
        return view;
    }
    view.fixed = host_values<std::int64_t>(gradient.sums).data();
    if (!gradient.overflow.is_null()) view.overflow = host_values<std::uint8_t>(gradient.overflow).data();
    return view;
}

void accumulate(std::span<const float> addends, index_t first, GradientView gradient) {
    const auto count = static_cast<index_t>(addends.size());
    SY_REQUIRE(first >= 0 && first + count <= gradient.rows * gradient.cols, "accumulate: elements ", first,
               " to ", first + count, " of a gradient of ", gradient.rows * gradient.cols);
    // As one row of a gradient that is one row.
    GradientView flat = gradient;
    flat.cols = gradient.rows * gradient.cols;
    flat.rows = 1;
    accumulate(MatrixView<const float>(addends.data(), 1, count), 0, first, flat);
}

void accumulate(MatrixView<const float> addends, index_t row, index_t col, GradientView gradient) {
    SY_REQUIRE(
        row >= 0 && col >= 0 && row + addends.rows <= gradient.rows && col + addends.cols <= gradient.cols,
        "accumulate: [", addends.rows, ", ", addends.cols, "] at (", row, ", ", col, ") of a gradient [",
        gradient.rows, ", ", gradient.cols, "]");
    SY_REQUIRE(gradient.fixed == nullptr || (gradient.f32 == nullptr && gradient.overflow != nullptr),
               "accumulate: a fixed-point gradient without overflow flag, or in float32 as well");
    const index_t first = row * gradient.cols + col;
    if (gradient.fixed == nullptr) {
        for (index_t r = 0; r < addends.rows; ++r)
            accumulate_f32(addends.row(r), addends.cols, gradient.f32 + first + r * gradient.cols);
    } else if (accumulate_rows_fixed(addends, gradient.limit, gradient.fixed + first, gradient.cols)) {
        // Threads may set it at once: an atomic store of the same value.
        __atomic_store_n(gradient.overflow, 1, __ATOMIC_RELAXED);
    }
}

float gradient_limit(index_t num_addends) {
    SY_REQUIRE(num_addends > 0, "gradient_limit: of ", num_addends, " addends");
    // One step below the quotient, because that may have been rounded up.
    const double share = 0x1p17 / static_cast<double>(num_addends);
    return std::min(kGradientLimit, std::nextafter(static_cast<float>(share), 0.0F));
}

void from_fixed_point(std::span<const std::int64_t> sums, std::span<float> values) {
    SY_REQUIRE(sums.size() == values.size(), "from_fixed_point: ", sums.size(), " sums for ", values.size(),
               " values");
    convert_fixed(sums.data(), static_cast<index_t>(sums.size()), values.data());
}

}  // namespace sy
