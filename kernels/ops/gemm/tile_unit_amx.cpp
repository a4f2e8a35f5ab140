#include "kernels/ops/gemm/tile_unit.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "kernels/core/tile_config.hpp"
#include "kernels/ops/gemm/pack.hpp"

// GCC 12's own headers read a register that they have not set.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define SY_AMX __attribute__((target("arch=x86-64-v4,amx-tile,amx-bf16")))

namespace sy::ops::detail {
namespace {

constexpr index_t kWordBytes = sizeof(float);  ///< a pair of bf16
/// Words of a row, and rows, of one tile.
constexpr index_t kSide = 16;
/// C is computed in squares of two by two tiles.
constexpr index_t kSquare = 2 * kSide;
/// The block of A that stays in the second-level cache while panels of B pass by.
constexpr index_t kBlockRows = 12 * kSquare;
constexpr index_t kBlockSteps = 16;
/// From one row of a block of A to the next: a cache line more than the row, so that rows do not share cache sets.
constexpr index_t kRowBytes = kBlockSteps * kSide * kWordBytes + 64;

struct Scratch {
    alignas(64) std::byte a[kBlockRows * kRowBytes];
    alignas(64) std::byte b[kBlockSteps * kSide * kSquare * kWordBytes];
    alignas(64) std::byte turning[kBlockSteps * kSide * kSide * kWordBytes];
    alignas(64) float c[kSquare * kSquare];
};

constexpr index_t num_steps(index_t num_elements) {
    return ceil_div(num_elements, kTileDepth);
}

/// The unit, set up for the calling thread. Left empty, since tiles in use make switches of threads slow.
class TilesInUse {
  public:
    SY_AMX TilesInUse() { _tile_loadconfig(&kWholeTiles); }
    SY_AMX ~TilesInUse() { _tile_release(); }
    TilesInUse(const TilesInUse&) = delete;
    TilesInUse& operator=(const TilesInUse&) = delete;
};

/// GCC 12 does not know that loads and stores of tiles touch memory: none of its own may cross this.
inline void order_memory() {
    asm volatile("" ::: "memory");
}

enum class Start { from_zero, from_c };

/// A square of C, or less of it: one or two tiles of rows and of columns.
struct Square {
    const std::byte* a;  ///< word (row, k) at row * kRowBytes + 4 k
    const std::byte* b;  ///< word (k, column) at (k * kSquare + column) * 4
    index_t num_steps;
    float* c;
    index_t c_stride;
    Start start;
    bool two_rows;
    bool two_cols;
};

SY_AMX void multiply_square(const Square& square) {
    constexpr index_t kSecondRows = kSide * kRowBytes;
    constexpr index_t kSecondCols = kSide * kWordBytes;
    constexpr index_t kPitch = kSquare * kWordBytes;
    const auto pitch = static_cast<std::size_t>(square.c_stride) * sizeof(float);
    float* const below = square.c + kSide * square.c_stride;
    order_memory();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (square.start == Start::from_c) {
        _tile_loadd(0, square.c, pitch);
        if (square.two_cols) _tile_loadd(1, square.c + kSide, pitch);
        if (square.two_rows) _tile_loadd(2, below, pitch);
        if (square.two_rows && square.two_cols) _tile_loadd(3, below + kSide, pitch);
    }
    const std::byte* a = square.a;
    const std::byte* b = square.b;
    if (square.two_rows && square.two_cols) {
        for (index_t step = 0; step < square.num_steps;
             ++step, a += kSide * kWordBytes, b += kSide * kPitch) {
            _tile_loadd(4, a, kRowBytes);
            _tile_loadd(6, b, kPitch);
            _tile_loadd(7, b + kSecondCols, kPitch);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a + kSecondRows, kRowBytes);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    } else {
        for (index_t step = 0; step < square.num_steps;
             ++step, a += kSide * kWordBytes, b += kSide * kPitch) {
            _tile_loadd(4, a, kRowBytes);
            _tile_loadd(6, b, kPitch);
            _tile_dpbf16ps(0, 4, 6);
            if (square.two_cols) {
                _tile_loadd(7, b + kSecondCols, kPitch);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (square.two_rows) {
                _tile_loadd(5, a + kSecondRows, kRowBytes);
                _tile_dpbf16ps(2, 5, 6);
            }
        }
    }
    _tile_stored(0, square.c, pitch);
    if (square.two_cols) _tile_stored(1, square.c + kSide, pitch);
    if (square.two_rows) _tile_stored(2, below, pitch);
    if (square.two_rows && square.two_cols) _tile_stored(3, below + kSide, pitch);
    order_memory();
}

/// rows[r][w] = panel[w][r] of 16 by 16 words.
SY_AMX void transpose_words(const std::byte* panel, std::byte* rows) {
    __m512i x[16];
    __m512i y[16];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) x[i] = _mm512_loadu_si512(panel + i * 64);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 16; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
        // Quarters 0 and 2 of the first and the second eight words, then 1 and 3.
        const __m512i even_low = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        const __m512i even_high = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        const __m512i odd_low = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xdd);
        const __m512i odd_high = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xdd);
        y[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        y[i + 8] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        y[i + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i)
        _mm512_storeu_si512(rows + i * static_cast<std::size_t>(kRowBytes), y[i]);
}

using Source = PanelSource<bf16>;

/// Zeros behind the words of `num_elements` elements, up to a whole step, in lines of `width` words.
void clear_tail(std::byte* panel, index_t num_elements, index_t width) {
    const index_t num_words = ceil_div(num_elements, 2);
    const index_t missing = num_steps(num_elements) * kSide - num_words;
    std::memset(panel + num_words * width * kWordBytes, 0,
                static_cast<std::size_t>(missing * width * kWordBytes));
}

/// Rows of A (or columns, if that is how its lines lie), a whole number of steps each.
void pack_a(const Source& source, Scratch& scratch, index_t first_step) {
    const index_t num_elements = source.elements.size();
    std::byte* rows = scratch.a + first_step * kSide * kWordBytes;
    if (source.lines == Lines::are_rows) {
        copy_rows(source, rows, kRowBytes);
        for (index_t row = 0; row < source.picked.size(); ++row)
            clear_tail(rows + row * kRowBytes, num_elements, 1);
        return;
    }
    for (index_t line = source.picked.begin; line < source.picked.end;
         line += kSide, rows += kSide * kRowBytes) {
        Source part = source;
        part.picked = {line, std::min(line + kSide, source.picked.end)};
        pack_panels(part, {scratch.turning, kSide, 0});
        clear_tail(scratch.turning, num_elements, kSide);
        for (index_t step = 0; step < num_steps(num_elements); ++step)
            transpose_words(scratch.turning + step * kSide * kSide * kWordBytes,
                            rows + step * kSide * kWordBytes);
    }
}

/// Up to kSquare lines of B, a whole number of steps.
void pack_b(const Source& source, Scratch& scratch, index_t first_step) {
    std::byte* const panel = scratch.b + first_step * kSide * kSquare * kWordBytes;
    pack_panels(source, {panel, kSquare, 0});
    clear_tail(panel, source.elements.size(), kSquare);
}

Square square_of(Scratch& scratch, index_t first_row, MatrixView<float> c, Start start) {
    return {.a = scratch.a + first_row * kRowBytes,
            .b = scratch.b,
            .num_steps = 0,
            .c = c.data,
            .c_stride = c.stride,
            .start = start,
            .two_rows = c.rows > kSide,
            .two_cols = c.cols > kSide};
}

/// Updates up to a square of C where it is; at the edges through a buffer.
void update_square(Scratch& scratch, index_t first_row, index_t steps, MatrixView<float> c, Start start) {
    Square square = square_of(scratch, first_row, c, start);
    square.num_steps = steps;
    if (c.rows % kSide == 0 && c.cols % kSide == 0) return multiply_square(square);
    const auto bytes = static_cast<std::size_t>(c.cols) * sizeof(float);
    square.c = scratch.c;
    square.c_stride = kSquare;
    if (start == Start::from_c) {
        for (index_t row = 0; row < c.rows; ++row) std::memcpy(scratch.c + row * kSquare, c.row(row), bytes);
    }
    multiply_square(square);
    for (index_t row = 0; row < c.rows; ++row) std::memcpy(c.row(row), scratch.c + row * kSquare, bytes);
}

void multiply(const HostProduct<bf16>& product, void* memory) {
    Scratch& scratch = *static_cast<Scratch*>(memory);
    const bool turned_a = product.transpose_a == Transpose::yes;
    const index_t num_k = turned_a ? product.a.rows : product.a.cols;
    const Lines lines_of_a = turned_a ? Lines::are_columns : Lines::are_rows;
    const Lines lines_of_b = product.transpose_b == Transpose::yes ? Lines::are_rows : Lines::are_columns;
    const TilesInUse tiles;
    for (index_t row = 0; row < product.c.rows; row += kBlockRows) {
        const Range rows{row, std::min(row + kBlockRows, product.c.rows)};
        for (index_t k = 0; k < num_k; k += kBlockSteps * kTileDepth) {
            const Range elements{k, std::min(k + kBlockSteps * kTileDepth, num_k)};
            const Start start =
                product.write == Write::overwrite && k == 0 ? Start::from_zero : Start::from_c;
            pack_a({product.a, lines_of_a, Words::pairs, elements, rows}, scratch, 0);
            for (index_t col = 0; col < product.c.cols; col += kSquare) {
                const Range cols{col, std::min(col + kSquare, product.c.cols)};
                pack_b({product.b, lines_of_b, Words::pairs, elements, cols}, scratch, 0);
                const MatrixView<float> panel = product.c.rows_of(rows).cols_of(cols);
                for (index_t r = 0; r < rows.size(); r += kSquare) {
                    update_square(scratch, r, num_steps(elements.size()),
                                  panel.rows_of({r, std::min(r + kSquare, rows.size())}), start);
                }
            }
        }
    }
}

/// Blocks of rows whose steps together fit one block along k.
void add_group(const GradientProduct<bf16>& product, std::span<const index_t> blocks, Scratch& scratch) {
    const TilesInUse tiles;
    const auto pack = [&](const MatrixView<const bf16>& x, Range picked, const auto& pack_block) {
        index_t step = 0;
        for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
            const Range elements{blocks[b], blocks[b + 1]};
            pack_block(Source{x, Lines::are_columns, Words::pairs, elements, picked}, scratch, step);
            step += num_steps(elements.size());
        }
    };
    const Range all{0, product.x.cols};
    for (index_t row = 0; row < all.end; row += kBlockRows) {
        const Range rows{row, std::min(row + kBlockRows, all.end)};
        pack(product.x, rows, pack_a);
        for (index_t col = 0; col < product.dy.cols; col += kSquare) {
            const Range cols{col, std::min(col + kSquare, product.dy.cols)};
            pack(product.dy, cols, pack_b);
            for (index_t r = 0; r < rows.size(); r += kSquare) {
                const index_t height = std::min(kSquare, rows.size() - r);
                const MatrixView<float> c(scratch.c, height, cols.size(), kSquare);
                Square square = square_of(scratch, r, c, Start::from_zero);
                for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
                    square.num_steps = num_steps(blocks[b + 1] - blocks[b]);
                    multiply_square(square);
                    accumulate(MatrixView<const float>(c), product.row + rows.begin + r, product.col + col,
                               product.gradient);
                    square.a += square.num_steps * kSide * kWordBytes;
                    square.b += square.num_steps * kSide * kSquare * kWordBytes;
                }
            }
        }
    }
}

void add_to_gradient(const GradientProduct<bf16>& product, void* memory) {
    Scratch& scratch = *static_cast<Scratch*>(memory);
    const std::span<const index_t> blocks = product.blocks;
    for (std::size_t first = 0; first + 1 < blocks.size();) {
        std::size_t last = first + 1;
        index_t steps = num_steps(blocks[last] - blocks[first]);
        if (steps > kBlockSteps) {
            // Its sums pass through memory.
            const Range rows{blocks[first], blocks[last]};
            multiply({product.x.rows_of(rows), Transpose::yes, product.dy.rows_of(rows), Transpose::no,
                      product.scratch},
                     memory);
            accumulate(MatrixView<const float>(product.scratch), product.row, product.col, product.gradient);
        } else {
            for (; last + 1 < blocks.size(); ++last) {
                steps += num_steps(blocks[last + 1] - blocks[last]);
                if (steps > kBlockSteps) break;
            }
            add_group(product, blocks.subspan(first, last + 1 - first), scratch);
        }
        first = last;
    }
}

}  // namespace

const TileUnit* amx_tile_unit() {
    static constexpr TileUnit kUnit{static_cast<index_t>(sizeof(Scratch)), multiply, add_to_gradient};
    return &kUnit;
}

}  // namespace sy::ops::detail

#else

namespace sy::ops::detail {
const TileUnit* amx_tile_unit() {
    return nullptr;
}
}  // namespace sy::ops::detail

#endif
