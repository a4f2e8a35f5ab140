#include "kernels/core/gradient.hpp"

#include <bit>

#include "kernels/core/simd.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sy {
namespace {

SY_MULTIVERSION bool accumulate_fixed_plain(const float* addends, index_t count, std::int64_t* sums) {
    // 1.5 * 2^52: adding it rounds a double below 2^51 to nearest even, and the integer stands in the low bits.
    constexpr double kMagic = 0x1.8p52;
    constexpr auto kMagicBits = std::bit_cast<std::uint64_t>(kMagic);
    constexpr double kScale = 1.0 / kGradientUnit;
    constexpr auto kLimitBits = std::bit_cast<std::uint32_t>(kGradientLimit);
    std::uint32_t out_of_range = 0;
    for (index_t i = 0; i < count; ++i) {
        // All ones when |addend| < limit: bit patterns of floats are in order, with infinity and NaN at the top.
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(addends[i]);
        const std::uint32_t good = 0U - (((bits & 0x7fffffffU) - kLimitBits) >> 31);
        out_of_range |= ~good;
        // Below 2^10 makes below 2^56 units, too many for one magic sum. The part above 2^24 units is taken off
        // first; what remains is exact (a float has 24 bits) and the only thing that is rounded.
        const double units = static_cast<double>(std::bit_cast<float>(bits & good)) * kScale;
        const double upper = units * 0x1p-24 + kMagic;
        const double lower = (units - (upper - kMagic) * 0x1p24) + kMagic;
        const std::uint64_t whole = ((std::bit_cast<std::uint64_t>(upper) - kMagicBits) << 24) +
                                    (std::bit_cast<std::uint64_t>(lower) - kMagicBits);
        // Modulo 2^64, so that partial sums beyond the range do no harm if the whole is within it.
        sums[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(sums[i]) + whole);
    }
    return out_of_range != 0;
}

#if defined(__x86_64__)
/// The same with the instruction that rounds a float to a 64-bit integer: scaling by 2^46 is exact.
__attribute__((target("avx512f,avx512dq"))) inline bool accumulate_fixed_avx512(const float* addends,
                                                                                index_t count,
                                                                                std::int64_t* sums) {
    const __m256 limit = _mm256_set1_ps(kGradientLimit);
    const __m256 scale = _mm256_set1_ps(static_cast<float>(1.0 / kGradientUnit));
    const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    int all_good = 0xff;
    index_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256 addend = _mm256_loadu_ps(addends + i);
        const __m256 good = _mm256_cmp_ps(_mm256_and_ps(addend, no_sign), limit, _CMP_LT_OQ);
        all_good &= _mm256_movemask_ps(good);
        const __m512i whole = _mm512_cvtps_epi64(_mm256_mul_ps(_mm256_and_ps(addend, good), scale));
        _mm512_storeu_si512(sums + i, _mm512_add_epi64(_mm512_loadu_si512(sums + i), whole));
    }
    return accumulate_fixed_plain(addends + i, count - i, sums + i) || all_good != 0xff;
}
#endif

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq"))) bool accumulate_rows_avx512(MatrixView<const float> addends,
                                                                        std::int64_t* sums, index_t pitch) {
    bool bad = false;
    for (index_t row = 0; row < addends.rows; ++row)
        bad |= accumulate_fixed_avx512(addends.row(row), addends.cols, sums + row * pitch);
    return bad;
}
#endif

/// @return whether an addend was out of range
bool accumulate_rows_fixed(MatrixView<const float> addends, std::int64_t* sums, index_t pitch) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq")) return accumulate_rows_avx512(addends, sums, pitch);
#endif
    bool bad = false;
    for (index_t row = 0; row < addends.rows; ++row)
        bad |= accumulate_fixed_plain(addends.row(row), addends.cols, sums + row * pitch);
    return bad;
}

SY_MULTIVERSION void accumulate_f32(const float* addends, index_t count, float* sums) {
    for (index_t i = 0; i < count; ++i) sums[i] += addends[i];
}

SY_MULTIVERSION void convert_fixed(const std::int64_t* sums, index_t count, float* values) {
    // By way of double it would be rounded twice. The product is exact: a power of two, no subnormals.
    for (index_t i = 0; i < count; ++i)
        values[i] = static_cast<float>(sums[i]) * static_cast<float>(kGradientUnit);
}

}  // namespace

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
    } else if (accumulate_rows_fixed(addends, gradient.fixed + first, gradient.cols)) {
        // Threads may set it at once: an atomic store of the same value.
        __atomic_store_n(gradient.overflow, true, __ATOMIC_RELAXED);
    }
}

void from_fixed_point(std::span<const std::int64_t> sums, std::span<float> values) {
    SY_REQUIRE(sums.size() == values.size(), "from_fixed_point: ", sums.size(), " sums for ", values.size(),
               " values");
    convert_fixed(sums.data(), static_cast<index_t>(sums.size()), values.data());
}

}  // namespace sy
