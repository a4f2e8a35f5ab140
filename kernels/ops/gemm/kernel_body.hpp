// The loops of the kernels, for any vector registers. Included by the file of each instruction set, which before defines
//   SY_TARGET    the attribute that names the instructions
// and in sy::ops::detail, in an anonymous namespace and inline,
//   vector_t     a register of 32-bit words; kLanes of them
//   zero(), load(address), store(address, vector), broadcast(word)
//   multiply_add(a, b, sum)      sum + a b, word by word
//   Largest      of magnitudes: take(vector), is_below(limit); NaN is the largest
//   add_units(sums, vector)      adds kLanes values, each below kUnitsLimit, to as many sums in fixed point
//   kMostSums, in_place_vectors(num_rows)      registers for C: of a tile, and of a row where B is read in place
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/ops/gemm/kernel.hpp"

namespace sy::ops::detail {
namespace {

/// Where word (row, k) of A lies. Three rows share an address, since an instruction adds one or two strides to it.
template <std::size_t kRows>
struct InRows {
    static constexpr std::size_t kGroups = (kRows + 2) / 3;
    const std::byte* group[kGroups];
    std::size_t stride;
    SY_TARGET_INLINE InRows(const std::byte* a, std::size_t stride_) : stride(stride_) {
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kGroups; ++i) group[i] = a + 3 * i * stride;
    }
    SY_TARGET_INLINE const std::byte* word(std::size_t row) const {
        return group[row / 3] + (row % 3) * stride;
    }
    SY_TARGET_INLINE void next() {
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kGroups; ++i) group[i] += kWordBytes;
    }
};
struct InPanel {
    const std::byte* k_row;
    std::size_t stride;
    SY_TARGET_INLINE InPanel(const std::byte* a, std::size_t stride_) : k_row(a), stride(stride_) {}
    SY_TARGET_INLINE const std::byte* word(std::size_t row) const { return k_row + row * kWordBytes; }
    SY_TARGET_INLINE void next() { k_row += stride; }
};

/// The registers of a tile: kRows x kVectors of C.
template <std::size_t kRows, std::size_t kVectors>
struct Sums {
    vector_t value[kRows][kVectors];

    SY_TARGET_INLINE Sums(const float* c, std::size_t stride, Tile::Start start) {
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
            for (std::size_t i = 0; i < kVectors; ++i)
                value[row][i] =
                    start == Tile::Start::from_zero ? zero() : load(c + row * stride + i * kLanes);
        }
    }
    SY_TARGET_INLINE void store_in(float* c, std::size_t stride) const {
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
            for (std::size_t i = 0; i < kVectors; ++i) store(c + row * stride + i * kLanes, value[row][i]);
        }
    }
    SY_TARGET_INLINE bool are_below(float limit) const {
        Largest largest;
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
            for (std::size_t i = 0; i < kVectors; ++i) largest.take(value[row][i]);
        }
        return largest.is_below(limit);
    }
    SY_TARGET_INLINE void add_to(std::int64_t* sums, index_t stride) const {
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row, sums += stride) {
#pragma GCC unroll 16
            for (std::size_t i = 0; i < kVectors; ++i) add_units(sums + i * kLanes, value[row][i]);
        }
    }
    /// @param load_b  gives LoadB::kTogether registers of the words of B from the ith on. Several rows share those of a whole
    ///                row of B; a single row uses each at once, so that nearly all registers are left for its sums.
    template <class A, class LoadB>
    SY_TARGET_INLINE void add(const A& a, LoadB load_b) {
        constexpr std::size_t kTogether = kRows == 1 ? LoadB::kTogether : kVectors;
#pragma GCC unroll 16
        for (std::size_t first = 0; first < kVectors; first += kTogether) {
            vector_t b[kTogether];
#pragma GCC unroll 16
            for (std::size_t i = 0; i < kTogether; i += LoadB::kTogether) load_b(first + i, b + i);
#pragma GCC unroll 12
            for (std::size_t row = 0; row < kRows; ++row) {
                // A pair of bf16 may begin at any even address.
                float word;
                std::memcpy(&word, a.word(row), sizeof(word));
                const vector_t words = broadcast(word);
#pragma GCC unroll 16
                for (std::size_t i = 0; i < kTogether; ++i)
                    value[row][first + i] = multiply_add(words, b[i], value[row][first + i]);
            }
        }
    }
};

/// B as packed panels and float rows have it.
struct LoadWords {
    static constexpr std::size_t kTogether = 1;
    const std::byte* row;
    SY_TARGET_INLINE void operator()(std::size_t i, vector_t* words) const {
        *words = load(reinterpret_cast<const float*>(row) + i * kLanes);
    }
};

/// Fetches the tile of C below this one, which is usually the next.
template <std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void prefetch_next(const Tile& tile) {
    const float* next = tile.c + kTileRows * tile.c_stride;
    for (std::size_t row = 0; row < kRows; ++row, next += tile.c_stride) {
        for (std::size_t i = 0; i < kVectors * kLanes; i += 16) __builtin_prefetch(next + i, 1);
    }
}

/// Adds the products of a tile's words to the sums of as many of its rows as are in registers at once.
template <class A, class LoadB, std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void add_products(Sums<kRows, kVectors>& sums, const Tile& tile,
                                   const std::byte* first_of_a) {
    A a(first_of_a, static_cast<std::size_t>(tile.a_stride));
    const std::byte* b = tile.b;
    for (index_t k = 0; k < tile.num_k; ++k, b += tile.b_stride, a.next()) sums.add(a, LoadB{b});
}

/// Rows [kFirst, kFirst + kRows) of a tile.
template <std::size_t kFirst, std::size_t kRows, std::size_t kVectors, class A, class LoadB>
SY_TARGET_INLINE void update_rows(const Tile& tile, const std::byte* first_of_a) {
    const auto c_stride = static_cast<std::size_t>(tile.c_stride);
    float* const c = tile.c + kFirst * c_stride;
    Sums<kRows, kVectors> sums(c, c_stride, tile.start);
    add_products<A, LoadB>(sums, tile, first_of_a);
    sums.store_in(c, c_stride);
}

/// The same rows, added to a gradient in fixed point that begins at (row, col).
template <std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void add_rows(const Tile& tile, const std::byte* first_of_a, const GradientView& gradient,
                               index_t row, index_t col) {
    constexpr std::size_t kCols = kVectors * kLanes;
    Sums<kRows, kVectors> sums(nullptr, 0, Tile::Start::from_zero);
    add_products<InPanel, LoadWords>(sums, tile, first_of_a);
    if (sums.are_below(std::min(gradient.limit, kUnitsLimit))) {
        sums.add_to(gradient.fixed + row * gradient.cols + col, gradient.cols);
        return;
    }
    float addends[kRows * kCols];
    sums.store_in(addends, kCols);
    accumulate(MatrixView<const float>(addends, index_t{kRows}, index_t{kCols}), row, col, gradient);
}

/// Rows of a tile whose sums fit the registers: all, or half of them.
constexpr std::size_t rows_at_once(std::size_t num_rows, std::size_t num_vectors) {
    return num_rows * num_vectors <= kMostSums ? num_rows : (num_rows + 1) / 2;
}

template <std::size_t kRows, std::size_t kVectors, class LoadB = LoadWords>
SY_TARGET void tile_in_rows(const Tile& tile) {
    prefetch_next<kRows, kVectors>(tile);
    constexpr std::size_t kUpper = rows_at_once(kRows, kVectors);
    constexpr std::size_t kLower = kRows - kUpper;
    update_rows<0, kUpper, kVectors, InRows<kUpper>, LoadB>(tile, tile.a);
    if constexpr (kLower > 0) {
        update_rows<kUpper, kLower, kVectors, InRows<kLower>, LoadB>(
            tile, tile.a + index_t{kUpper} * tile.a_stride);
    }
}

template <std::size_t kRows, std::size_t kVectors>
SY_TARGET void tile_in_panel(const Tile& tile) {
    prefetch_next<kRows, kVectors>(tile);
    constexpr std::size_t kUpper = rows_at_once(kRows, kVectors);
    constexpr std::size_t kLower = kRows - kUpper;
    update_rows<0, kUpper, kVectors, InPanel, LoadWords>(tile, tile.a);
    if constexpr (kLower > 0)
        update_rows<kUpper, kLower, kVectors, InPanel, LoadWords>(tile, tile.a + kUpper * sizeof(float));
}

/// A FixedTileFunction.
template <std::size_t kRows, std::size_t kVectors>
SY_TARGET void tile_into_fixed(const Tile& tile, const GradientView& gradient, index_t row, index_t col) {
    constexpr std::size_t kUpper = rows_at_once(kRows, kVectors);
    constexpr std::size_t kLower = kRows - kUpper;
    add_rows<kUpper, kVectors>(tile, tile.a, gradient, row, col);
    if constexpr (kLower > 0)
        add_rows<kLower, kVectors>(tile, tile.a + kUpper * sizeof(float), gradient, row + index_t{kUpper},
                                   col);
}

using AllRows = std::make_index_sequence<kTileRows>;

template <std::size_t kVectors, std::size_t... kIdx>
constexpr PanelKernels panel_kernels(std::index_sequence<kIdx...>) {
    return {index_t{kVectors * kLanes},
            {tile_in_rows<kIdx + 1, kVectors>...},
            {tile_in_panel<kIdx + 1, kVectors>...},
            {tile_into_fixed<kIdx + 1, kVectors>...}};
}

/// Registers of a row of C for the columns that wide tiles leave.
constexpr std::size_t kNarrowInPlace = 2;

/// Bodies that read B in place and widen it where it is bf16, with LoadBf16.
template <class In, class LoadBf16>
using LoadInPlace = std::conditional_t<std::is_same_v<In, float>, LoadWords, LoadBf16>;
template <class LoadB, std::size_t... kIdx>
constexpr InPlaceKernels in_place_kernels(std::index_sequence<kIdx...>) {
    return {{InPlaceFunction{tile_in_rows<kIdx + 1, in_place_vectors(kIdx + 1), LoadB>,
                             index_t{in_place_vectors(kIdx + 1) * kLanes}}...},
            {InPlaceFunction{tile_in_rows<kIdx + 1, kNarrowInPlace, LoadB>,
                             index_t{kNarrowInPlace * kLanes}}...}};
}

}  // namespace
}  // namespace sy::ops::detail
