#include "kernels/ops/random/random.hpp"

#include <algorithm>
#include <array>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"

namespace sy::ops {
namespace {

using simd::u32x16;

/// Words of philox(key, first + b) for b = 0 .. 15: element 4 b + w is word w of block b.
constexpr index_t kWords = 64;
using Words = std::array<std::uint32_t, kWords>;

SY_INLINE u32x16 high_product(u32x16 a, std::uint32_t factor) {
    u32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) {
        result[lane] = static_cast<std::uint32_t>((std::uint64_t{a[lane]} * std::uint64_t{factor}) >> 32);
    }
    return result;
}

/// Philox4x32-10 on sixteen counters at once, with the multipliers and key increments of the paper.
SY_INLINE void philox_words(const RandomKey& key, std::uint64_t first, Words& words) {
    const PhiloxInput in = philox_input(key, first);
    const u32x16 lane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    u32x16 c0 = lane + in.counter[0];
    // The carry into the upper word: the sum's top bit is lost where both or either had it.
    u32x16 c1 = in.counter[1] + (((lane & in.counter[0]) | ((lane | in.counter[0]) & ~c0)) >> 31);
    u32x16 c2 = u32x16{} + in.counter[2];
    u32x16 c3 = u32x16{} + in.counter[3];
    std::uint32_t k0 = in.key[0];
    std::uint32_t k1 = in.key[1];
    constexpr std::uint32_t kFactor0 = 0xD2511F53U;
    constexpr std::uint32_t kFactor1 = 0xCD9E8D57U;
    for (int round = 0; round < 10; ++round) {
        const u32x16 high0 = high_product(c0, kFactor0);
        const u32x16 high1 = high_product(c2, kFactor1);
        const u32x16 low0 = c0 * kFactor0;
        const u32x16 low1 = c2 * kFactor1;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
#pragma omp simd
    for (int block = 0; block < 16; ++block) {
        words[static_cast<std::size_t>(4 * block)] = c0[block];
        words[static_cast<std::size_t>(4 * block + 1)] = c1[block];
        words[static_cast<std::size_t>(4 * block + 2)] = c2[block];
        words[static_cast<std::size_t>(4 * block + 3)] = c3[block];
    }
}

/// values[i] for global elements first + i; two words an element.
SY_MULTIVERSION void normal_range(const RandomKey& key, index_t first, float deviation, float* values,
                                  index_t count) {
    constexpr index_t kStep = kWords / 2;
    Words words;
    for (index_t start = first - first % 2; start < first + count; start += kStep) {
        philox_words(key, static_cast<std::uint64_t>(start / 2), words);
        for (index_t i = std::max(start, first); i < std::min(start + kStep, first + count); ++i) {
            const auto pair = static_cast<std::size_t>(2 * (i - start));
            values[i - first] = deviation * normal_from(words[pair], words[pair + 1]);
        }
    }
}

SY_MULTIVERSION void jitter_rows(MatrixView<const float> x, const RandomKey& key, index_t first_token,
                                 float eps, Range rows, MatrixView<float> y) {
    Words words;
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const index_t first = (first_token + t) * x.cols;
        const float* const source = x.data + t * x.stride;
        float* const target = y.data + t * y.stride;
        for (index_t start = first - first % 4; start < first + x.cols; start += kWords) {
            philox_words(key, static_cast<std::uint64_t>(start / 4), words);
            const index_t end = std::min(start + kWords, first + x.cols);
            for (index_t i = std::max(start, first); i < end; ++i) {
                const float u = uniform_from(words[static_cast<std::size_t>(i - start)]);
                target[i - first] = source[i - first] * (1.0F + eps * (2.0F * u - 1.0F));
            }
        }
    }
}

}  // namespace

void fill_normal(const RandomKey& key, index_t first, float deviation, std::span<float> values,
                 const Context& context) {
    SY_REQUIRE(first >= 0, "fill_normal: first element ", first);
    context.team.for_ranges(static_cast<index_t>(values.size()), 1024, [&](index_t begin, index_t end) {
        normal_range(key, first + begin, deviation, values.data() + begin, end - begin);
    });
}

void jitter(MatrixView<const float> x, const RandomKey& key, index_t first_token, float eps,
            MatrixView<float> y, const Context& context) {
    SY_REQUIRE(x.rows == y.rows && x.cols == y.cols && first_token >= 0, "jitter: [", x.rows, ", ", x.cols,
               "] into [", y.rows, ", ", y.cols, "], first token ", first_token);
    const Timed timed(context, OpKind::elementwise, 3.0 * static_cast<double>(x.rows * x.cols));
    context.team.for_ranges(x.rows, 8, [&](index_t begin, index_t end) {
        jitter_rows(x, key, first_token, eps, {begin, end}, y);
    });
}

}  // namespace sy::ops
