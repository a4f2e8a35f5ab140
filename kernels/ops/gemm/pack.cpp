#include "kernels/ops/gemm/pack.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/ops/gemm/tile.hpp"

namespace sy::ops::detail {
namespace {

// Four lanes are one register everywhere, and 12 and 32 are multiples of four: no other width is needed.
using f32x4 = float __attribute__((vector_size(16)));
using i32x4 = std::int32_t __attribute__((vector_size(16)));
using u32x4 = std::uint32_t __attribute__((vector_size(16)));
using u16x4 = std::uint16_t __attribute__((vector_size(8)));

inline f32x4 load4(const float* source) {
    f32x4 value;
    std::memcpy(&value, source, sizeof(value));
    return value;
}
inline f32x4 load4(const bf16* source) {
    u16x4 halves;
    std::memcpy(&halves, source, sizeof(halves));
    const u32x4 words = __builtin_convertvector(halves, u32x4) << 16;
    f32x4 value;
    std::memcpy(&value, &words, sizeof(value));
    return value;
}
inline void store4(float* target, f32x4 value) {
    std::memcpy(target, &value, sizeof(value));
}

/// panel[k][0 .. 4) of four lines whose elements lie along k; columns of the panel are `width` apart.
template <class In>
void pack_four_rows(const In* source, index_t stride, index_t num_k, index_t width, float* panel) {
    index_t k = 0;
    for (; k + 4 <= num_k; k += 4) {
        const f32x4 a = load4(source + k);
        const f32x4 b = load4(source + stride + k);
        const f32x4 c = load4(source + 2 * stride + k);
        const f32x4 d = load4(source + 3 * stride + k);
        const f32x4 ab_low = __builtin_shuffle(a, b, i32x4{0, 4, 1, 5});
        const f32x4 ab_high = __builtin_shuffle(a, b, i32x4{2, 6, 3, 7});
        const f32x4 cd_low = __builtin_shuffle(c, d, i32x4{0, 4, 1, 5});
        const f32x4 cd_high = __builtin_shuffle(c, d, i32x4{2, 6, 3, 7});
        float* const target = panel + k * width;
        store4(target, __builtin_shuffle(ab_low, cd_low, i32x4{0, 1, 4, 5}));
        store4(target + width, __builtin_shuffle(ab_low, cd_low, i32x4{2, 3, 6, 7}));
        store4(target + 2 * width, __builtin_shuffle(ab_high, cd_high, i32x4{0, 1, 4, 5}));
        store4(target + 3 * width, __builtin_shuffle(ab_high, cd_high, i32x4{2, 3, 6, 7}));
    }
    for (; k < num_k; ++k) {
        for (index_t i = 0; i < 4; ++i) panel[k * width + i] = static_cast<float>(source[i * stride + k]);
    }
}

template <index_t kWidth, class In>
void pack_rows(MatrixView<const In> x, index_t first, index_t count, Range ks, float* panel) {
    const In* const source = x.data + first * x.stride + ks.begin;
    // In pieces of k, so that the part of the panel that is written in turns stays in the first-level cache.
    constexpr index_t kPiece = 64;
    for (index_t k = 0; k < ks.size(); k += kPiece) {
        const index_t num_k = std::min(kPiece, ks.size() - k);
        for (index_t i = 0; i + 4 <= count; i += 4)
            pack_four_rows(source + i * x.stride + k, x.stride, num_k, kWidth, panel + k * kWidth + i);
    }
    index_t i = count / 4 * 4;
    for (; i < count; ++i) {
        for (index_t k = 0; k < ks.size(); ++k)
            panel[k * kWidth + i] = static_cast<float>(source[i * x.stride + k]);
    }
    for (; i < kWidth; ++i) {
        for (index_t k = 0; k < ks.size(); ++k) panel[k * kWidth + i] = 0.0F;
    }
}

template <index_t kWidth, class In>
void pack_columns(MatrixView<const In> x, index_t first, index_t count, Range ks, float* panel) {
    for (index_t k = 0; k < ks.size(); ++k) {
        const In* const source = x.data + (ks.begin + k) * x.stride + first;
        float* const target = panel + k * kWidth;
        if (count == kWidth) {
            for (index_t i = 0; i < kWidth; i += 4) store4(target + i, load4(source + i));
        } else {
            for (index_t i = 0; i < count; ++i) target[i] = static_cast<float>(source[i]);
            std::fill(target + count, target + kWidth, 0.0F);
        }
    }
}

}  // namespace

template <index_t kWidth, class In>
void pack_panel(MatrixView<const In> x, Lines lines, index_t first, index_t count, Range ks, float* panel) {
    if (lines == Lines::are_rows) {
        pack_rows<kWidth>(x, first, count, ks, panel);
    } else {
        pack_columns<kWidth>(x, first, count, ks, panel);
    }
}

template <index_t kWidth, class In>
void prefetch_panel(MatrixView<const In> x, Lines lines, index_t first, Range ks, index_t num_parts,
                    index_t part_idx) {
    const Range own = lines == Lines::are_rows ? Range{first, std::min(first + kWidth, x.rows)}
                                               : Range{first, std::min(first + kWidth, x.cols)};
    const Range rows = lines == Lines::are_rows ? own : ks;
    const Range cols = lines == Lines::are_rows ? ks : own;
    const Range part = part_of(rows.size(), num_parts, part_idx);
    constexpr index_t kCacheLine = 64 / sizeof(In);
    for (index_t row = rows.begin + part.begin; row < rows.begin + part.end; ++row) {
        const In* const source = x.data + row * x.stride;
        for (index_t col = cols.begin; col < cols.end; col += kCacheLine)
            __builtin_prefetch(source + col, 0, 2);
    }
}

template void pack_panel<kTileRows, float>(MatrixView<const float>, Lines, index_t, index_t, Range, float*);
template void pack_panel<kTileRows, bf16>(MatrixView<const bf16>, Lines, index_t, index_t, Range, float*);
template void pack_panel<kTileCols, float>(MatrixView<const float>, Lines, index_t, index_t, Range, float*);
template void pack_panel<kTileCols, bf16>(MatrixView<const bf16>, Lines, index_t, index_t, Range, float*);
template void prefetch_panel<kTileCols, float>(MatrixView<const float>, Lines, index_t, Range, index_t,
                                               index_t);
template void prefetch_panel<kTileCols, bf16>(MatrixView<const bf16>, Lines, index_t, Range, index_t,
                                              index_t);

}  // namespace sy::ops::detail
