#include "kernels/ops/gemm/pack.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/core/simd.hpp"

namespace sy::ops::detail {
namespace {

using word_t = std::uint32_t;

template <class T>
SY_INLINE T read(const void* source) {
    T value;
    std::memcpy(&value, source, sizeof(value));
    return value;
}
SY_INLINE void write(std::byte* target, word_t value) {
    std::memcpy(target, &value, sizeof(value));
}

/// The bits of a float: a bf16 is its upper half.
SY_INLINE word_t widened(const float* source) {
    return read<word_t>(source);
}
SY_INLINE word_t widened(const bf16* source) {
    return word_t{read<std::uint16_t>(source)} << 16;
}
SY_INLINE word_t paired(const bf16* first, const bf16* second) {
    return word_t{read<std::uint16_t>(first)} | word_t{read<std::uint16_t>(second)} << 16;
}

/// kCount words of consecutive lines that lie side by side. `second` is the row of the words' second elements; null
/// where there are none.
template <Words kWords, index_t kCount, class In>
SY_INLINE void pack_line_of_words(const In* first, const In* second, std::byte* panel) {
    word_t words[std::size_t{kCount}];
    if constexpr (kWords == Words::floats) {
#pragma omp simd
        for (index_t i = 0; i < kCount; ++i) words[i] = widened(first + i);
    } else if (second == nullptr) {
#pragma omp simd
        for (index_t i = 0; i < kCount; ++i) words[i] = widened(first + i) >> 16;
    } else {
#pragma omp simd
        for (index_t i = 0; i < kCount; ++i) words[i] = paired(first + i, second + i);
    }
    std::memcpy(panel, words, sizeof(words));
}

/// Lines that are columns: a word of all of them is one or two pieces of rows. Long pieces are read, and not more panels
/// are written at once than a cache has ways.
template <Words kWords, index_t kWidth, class In>
SY_INLINE void pack_columns(const PanelSource<In>& source, const Panels& panels) {
    constexpr index_t kStep = elements_per_word(kWords);
    constexpr index_t kAtOnce = 4;
    const index_t num_lines = source.picked.size();
    std::byte* first_panel = panels.data;
    for (index_t line = 0; line < num_lines; line += kAtOnce * kWidth, first_panel += kAtOnce * panels.step) {
        const index_t last = std::min(line + kAtOnce * kWidth, num_lines);
        const In* row = source.x.data + source.elements.begin * source.x.stride + source.picked.begin;
        index_t offset = 0;
        for (index_t k = source.elements.begin; k < source.elements.end; k += kStep) {
            const In* const second =
                kWords == Words::pairs && k + 1 < source.elements.end ? row + source.x.stride : nullptr;
            std::byte* target = first_panel + offset;
            index_t i = line;
            for (; i + kWidth <= last; i += kWidth, target += panels.step)
                pack_line_of_words<kWords, kWidth>(row + i, second == nullptr ? nullptr : second + i, target);
            if (i < last) {
                std::memset(target, 0, kWidth * sizeof(word_t));
                for (; i < last; ++i, target += kWordBytes)
                    pack_line_of_words<kWords, 1>(row + i, second == nullptr ? nullptr : second + i, target);
            }
            row += kStep * source.x.stride;
            offset += kWidth * kWordBytes;
        }
    }
}

using u32x4 = word_t __attribute__((vector_size(16)));
using u16x4 = std::uint16_t __attribute__((vector_size(8)));

/// Four words of a row.
template <Words kWords, class In>
SY_INLINE u32x4 four_words(const In* source) {
    if constexpr (kWords == Words::floats && std::is_same_v<In, bf16>) {
        return __builtin_convertvector(read<u16x4>(source), u32x4) << 16;
    } else {
        return read<u32x4>(source);
    }
}

/// panel[word][0 .. 4) of four rows.
template <Words kWords, index_t kWidth, class In>
SY_INLINE void pack_four_rows(const In* source, index_t stride, index_t num_words, std::byte* panel) {
    constexpr index_t kStep = elements_per_word(kWords);
    constexpr index_t kPitch = kWidth * kWordBytes;
    for (index_t word = 0; word + 4 <= num_words; word += 4, source += 4 * kStep, panel += 4 * kPitch) {
        const u32x4 a = four_words<kWords>(source);
        const u32x4 b = four_words<kWords>(source + stride);
        const u32x4 c = four_words<kWords>(source + 2 * stride);
        const u32x4 d = four_words<kWords>(source + 3 * stride);
        const u32x4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const u32x4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const u32x4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const u32x4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        const u32x4 turned[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                                 __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                                 __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                                 __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
        for (index_t i = 0; i < 4; ++i) std::memcpy(panel + i * kPitch, &turned[i], sizeof(turned[i]));
    }
}

/// Word `k` and, of a pair, the element behind it, if it is before `end`.
template <Words kWords, class In>
SY_INLINE word_t word_of_row(const In* row, index_t k, index_t end) {
    if constexpr (kWords == Words::floats)
        return widened(row + k);
    else
        return k + 1 < end ? read<word_t>(row + k) : widened(row + k) >> 16;
}

/// Lines that are rows: a panel is the transpose of its own.
template <Words kWords, index_t kWidth, class In>
SY_INLINE void pack_rows(const PanelSource<In>& source, std::byte* panel) {
    constexpr index_t kStep = elements_per_word(kWords);
    // Pieces of the sum, so that the lines of the panel they share stay in the first-level cache.
    constexpr index_t kPiece = 64;
    const index_t count = source.picked.size();
    const index_t num_elements = source.elements.size();
    const In* const first = source.x.row(source.picked.begin) + source.elements.begin;
    const index_t full_words = num_elements / kStep;
    const index_t fours = full_words / 4 * 4;
    for (index_t word = 0; word < fours; word += kPiece) {
        const index_t num_words = std::min(kPiece, fours - word);
        for (index_t i = 0; i + 4 <= count; i += 4) {
            pack_four_rows<kWords, kWidth>(first + i * source.x.stride + word * kStep, source.x.stride,
                                           num_words, panel + (word * kWidth + i) * kWordBytes);
        }
    }
    const index_t num_words = ceil_div(num_elements, kStep);
    for (index_t i = 0; i < kWidth; ++i) {
        const bool in_fours = i < count / 4 * 4;
        for (index_t word = in_fours ? fours : 0; word < num_words; ++word) {
            write(panel + (word * kWidth + i) * kWordBytes,
                  i < count ? word_of_row<kWords>(first + i * source.x.stride, word * kStep, num_elements)
                            : word_t{0});
        }
    }
}

template <Words kWords, index_t kWidth, class In>
SY_INLINE void pack(const PanelSource<In>& source, const Panels& panels) {
    if (source.lines == Lines::are_columns) return pack_columns<kWords, kWidth>(source, panels);
    std::byte* panel = panels.data;
    for (index_t line = source.picked.begin; line < source.picked.end; line += kWidth, panel += panels.step) {
        PanelSource<In> part = source;
        part.picked = {line, std::min(line + kWidth, source.picked.end)};
        pack_rows<kWords, kWidth>(part, panel);
    }
}

template <index_t kWidth, class In>
void pack_wide(const PanelSource<In>& source, const Panels& panels) {
    simd::for_isa([=]() SY_BODY {
        if constexpr (std::is_same_v<In, bf16>) {
            if (source.words == Words::pairs) return pack<Words::pairs, kWidth>(source, panels);
        }
        pack<Words::floats, kWidth>(source, panels);
    });
}

}  // namespace

template <class In>
void pack_panels(const PanelSource<In>& source, const Panels& panels) {
    switch (panels.width) {
        case 8:
            return pack_wide<8>(source, panels);
        case 12:
            return pack_wide<12>(source, panels);
        case 16:
            return pack_wide<16>(source, panels);
        case 32:
            return pack_wide<32>(source, panels);
    }
    SY_REQUIRE(false, "gemm: no packing of panels ", panels.width, " wide");
}

template <class In>
void copy_rows(const PanelSource<In>& source, std::byte* target, index_t stride) {
    const index_t count = source.elements.size();
    for (index_t row = source.picked.begin; row < source.picked.end; ++row, target += stride) {
        const In* const from = source.x.row(row) + source.elements.begin;
        if (std::is_same_v<In, bf16> && source.words == Words::floats) {
            auto* const to = reinterpret_cast<float*>(target);
            simd::for_isa([=]() SY_BODY {
                simd::for_lanes(
                    count, [=](index_t k, auto load, auto store) SY_BODY { store(to + k, load(from + k)); });
            });
        } else {
            std::memcpy(target, from, static_cast<std::size_t>(count) * sizeof(In));
            if (source.words == Words::pairs && count % 2 != 0)
                std::memset(target + count * index_t{sizeof(In)}, 0, sizeof(In));
        }
    }
}

template <class In>
void prefetch_lines(const PanelSource<In>& source, index_t num_parts, index_t part_idx) {
    const bool rows = source.lines == Lines::are_rows;
    const Range all_rows = rows ? source.picked : source.elements;
    const Range cols = rows ? source.elements : source.picked;
    const Range part = part_of(all_rows.size(), num_parts, part_idx);
    constexpr index_t kCacheLine = 64 / sizeof(In);
    for (index_t row = all_rows.begin + part.begin; row < all_rows.begin + part.end; ++row) {
        const In* const line = source.x.row(row);
        for (index_t col = cols.begin; col < cols.end; col += kCacheLine)
            __builtin_prefetch(line + col, 0, 2);
    }
}

template void pack_panels<float>(const PanelSource<float>&, const Panels&);
template void pack_panels<bf16>(const PanelSource<bf16>&, const Panels&);
template void copy_rows<float>(const PanelSource<float>&, std::byte*, index_t);
template void copy_rows<bf16>(const PanelSource<bf16>&, std::byte*, index_t);
template void prefetch_lines<float>(const PanelSource<float>&, index_t, index_t);
template void prefetch_lines<bf16>(const PanelSource<bf16>&, index_t, index_t);

}  // namespace sy::ops::detail
