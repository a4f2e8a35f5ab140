// Products whose elements are each one chain of fused multiply-adds over ascending k, whatever M, N and the place
// of a row: B is packed in panels of 32 columns, A in panels of 12 rows, and between blocks of k the chain
// continues from C, which is exact.
#include <algorithm>
#include <cstring>

#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/tile.hpp"

namespace sy::ops::detail {
namespace {

constexpr index_t kBlockK = 256;
constexpr index_t kBlockRows = 144;
constexpr index_t kBlockCols = 512;

/// Working set of one thread: A block 144 KiB and B block 512 KiB stay in the second-level cache.
struct Panels {
    alignas(64) float a[kBlockRows * kBlockK];
    alignas(64) float b[kBlockK * kBlockCols];
    alignas(64) float c[kTileRows * kTileCols];
};

/// Packs op(X)[first .. first + count, k_range] as panels of `width` rows of op(X): panel[k][width], zero filled.
/// `along_k` is true when consecutive k are consecutive in memory.
template <class In>
void pack(MatrixView<const In> x, bool along_k, Range lines, Range k_range, index_t width, float* panels) {
    for (index_t first = lines.begin; first < lines.end; first += width) {
        const index_t count = std::min(width, lines.end - first);
        for (index_t k = k_range.begin; k < k_range.end; ++k) {
            float* const target = panels + (k - k_range.begin) * width;
            if (along_k) {
                for (index_t i = 0; i < count; ++i)
                    target[i] = static_cast<float>(x.data[(first + i) * x.stride + k]);
            } else {
                const In* const source = x.data + k * x.stride + first;
                for (index_t i = 0; i < count; ++i) target[i] = static_cast<float>(source[i]);
            }
            for (index_t i = count; i < width; ++i) target[i] = 0.0F;
        }
        panels += width * k_range.size();
    }
}

/// One tile of C through the dense buffer: loaded (or zeroed), updated, stored back.
void update_tile(TileFunction tile, const float* a_panel, const float* b_panel, index_t num_k, bool load,
                 MatrixView<float> c, float* buffer) {
    std::memset(buffer, 0, kTileRows * kTileCols * sizeof(float));
    const auto row_bytes = static_cast<std::size_t>(c.cols) * sizeof(float);
    if (load) {
        for (index_t row = 0; row < c.rows; ++row)
            std::memcpy(buffer + row * kTileCols, c.row(row), row_bytes);
    }
    tile(a_panel, b_panel, num_k, buffer);
    for (index_t row = 0; row < c.rows; ++row) std::memcpy(c.row(row), buffer + row * kTileCols, row_bytes);
}

template <class In>
void update_rows(const Product<In>& product, TileFunction tile, Range rows, Range cols, Range ks,
                 Panels& panels) {
    pack(product.a, product.transpose_a == Transpose::no, rows, ks, kTileRows, panels.a);
    const bool load = product.beta != 0.0F || ks.begin > 0;
    for (index_t col = cols.begin; col < cols.end; col += kTileCols) {
        const float* const b_panel = panels.b + (col - cols.begin) * ks.size();
        const Range tile_cols{col, std::min(col + kTileCols, cols.end)};
        for (index_t row = rows.begin; row < rows.end; row += kTileRows) {
            const float* const a_panel = panels.a + (row - rows.begin) * ks.size();
            const Range tile_rows{row, std::min(row + kTileRows, rows.end)};
            update_tile(tile, a_panel, b_panel, ks.size(), load,
                        product.c.rows_of(tile_rows).cols_of(tile_cols), panels.c);
        }
    }
}

}  // namespace

index_t ordered_scratch_bytes() {
    return static_cast<index_t>(sizeof(Panels));
}

template <class In>
void multiply_ordered(const Product<In>& product, TileFunction tile, void* scratch) {
    const index_t num_k = check_sides(product);
    if (finish_empty(product, num_k)) return;
    Panels& panels = *static_cast<Panels*>(scratch);
    for (index_t col = 0; col < product.c.cols; col += kBlockCols) {
        const Range cols{col, std::min(col + kBlockCols, product.c.cols)};
        for (index_t k = 0; k < num_k; k += kBlockK) {
            const Range ks{k, std::min(k + kBlockK, num_k)};
            pack(product.b, product.transpose_b == Transpose::yes, cols, ks, kTileCols, panels.b);
            for (index_t row = 0; row < product.c.rows; row += kBlockRows) {
                update_rows(product, tile, {row, std::min(row + kBlockRows, product.c.rows)}, cols, ks,
                            panels);
            }
        }
    }
}

template void multiply_ordered<float>(const Product<float>&, TileFunction, void*);
template void multiply_ordered<bf16>(const Product<bf16>&, TileFunction, void*);

}  // namespace sy::ops::detail
