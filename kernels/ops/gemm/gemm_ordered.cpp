// Products whose elements are each one chain of fused multiply-adds over ascending k, whatever M, N and the place
// of a row: A is packed in panels of 12 rows, B in panels of 32 columns, and between blocks of k the chain
// continues from C, which is exact.
#include <algorithm>
#include <cstring>

#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/pack.hpp"
#include "kernels/ops/gemm/tile.hpp"

namespace sy::ops::detail {
namespace {

/// Sides of the block of A that stays in the second-level cache (384 KiB) while panels of B pass by. A panel of B is
/// packed (32 KiB) just before the row tiles use it: its packing is shared by up to kBlockRows rows.
constexpr index_t kBlockRows = 32 * kTileRows;

/// Up to so many rows it is cheaper to read B where it is, if its rows run along those of C.
constexpr index_t kInPlaceRows = 8 * kTileRows;

/// Working memory of one thread.
struct Panels {
    alignas(64) float a[kBlockRows * kBlockK];
    alignas(64) float b[kBlockK * kTileCols];
    alignas(64) float c[kTileRows * kTileCols];
};

/// The ranges of C and of the sum that one block of A serves.
struct Block {
    Range rows;
    Range ks;
    Tile::Start start;
};

/// Panels of an operand as the tiles read them: where the operand is, or packed.
struct Source {
    const float* data;
    index_t stride;  ///< from one k to the next
    index_t step;    ///< from one panel to the next
};

template <class In>
Lines lines_of_a(const Product<In>& product) {
    return product.transpose_a == Transpose::no ? Lines::are_rows : Lines::are_columns;
}
template <class In>
Lines lines_of_b(const Product<In>& product) {
    return product.transpose_b == Transpose::no ? Lines::are_columns : Lines::are_rows;
}

/// The rows of A that a block needs.
template <class In>
Source source_of_a(const Product<In>& product, const Block& block, float* panels) {
    const Lines lines = lines_of_a(product);
    if constexpr (std::is_same_v<In, float>) {
        if (lines == Lines::are_columns) {
            return {product.a.data + block.ks.begin * product.a.stride + block.rows.begin, product.a.stride,
                    kTileRows};
        }
    }
    const index_t step = block.ks.size() * kTileRows;
    float* panel = panels;
    for (index_t row = block.rows.begin; row < block.rows.end; row += kTileRows, panel += step)
        pack_panel<kTileRows>(product.a, lines, row, std::min(kTileRows, block.rows.end - row), block.ks,
                              panel);
    return {panels, kTileRows, step};
}

/// One panel of B.
template <class In>
Source source_of_b(const Product<In>& product, const Block& block, Range cols, float* panel) {
    const Lines lines = lines_of_b(product);
    if constexpr (std::is_same_v<In, float>) {
        if (lines == Lines::are_columns && cols.size() == kTileCols && block.rows.size() <= kInPlaceRows)
            return {product.b.data + block.ks.begin * product.b.stride + cols.begin, product.b.stride, 0};
    }
    pack_panel<kTileCols>(product.b, lines, cols.begin, cols.size(), block.ks, panel);
    return {panel, kTileCols, 0};
}

/// One tile at the right edge of C, through a dense buffer of full width.
void update_edge(const TileFunctions& tiles, Tile tile, MatrixView<float> c, float* buffer) {
    const auto row_bytes = static_cast<std::size_t>(c.cols) * sizeof(float);
    if (tile.start == Tile::Start::from_c) {
        std::memset(buffer, 0, kTileRows * kTileCols * sizeof(float));
        for (index_t row = 0; row < c.rows; ++row)
            std::memcpy(buffer + row * kTileCols, c.row(row), row_bytes);
    }
    tile.c = buffer;
    tile.c_stride = kTileCols;
    tiles[static_cast<std::size_t>(c.rows - 1)](tile);
    for (index_t row = 0; row < c.rows; ++row) std::memcpy(c.row(row), buffer + row * kTileCols, row_bytes);
}

/// Updates tiles of C where they are.
struct StoreInC {
    MatrixView<float> c;
    const TileFunctions& tiles;
    float* buffer;

    void operator()(Tile tile, Range rows, Range cols) const {
        if (cols.size() == kTileCols) {
            tile.c = c.data + rows.begin * c.stride + cols.begin;
            tile.c_stride = c.stride;
            tiles[static_cast<std::size_t>(rows.size() - 1)](tile);
        } else {
            update_edge(tiles, tile, c.rows_of(rows).cols_of(cols), buffer);
        }
    }
};

/// Computes tiles in a buffer and adds them to a gradient.
struct AddToGradient {
    const GradientTile& target;
    const TileFunctions& tiles;
    float* buffer;

    void operator()(Tile tile, Range rows, Range cols) const {
        const index_t row = target.row + rows.begin;
        const index_t col = target.col + cols.begin;
        // On the way from the second-level cache while the tile is computed.
        for (index_t r = 0; r < rows.size(); ++r) {
            const std::int64_t* const line = target.gradient.fixed + (row + r) * target.gradient.cols + col;
            for (index_t i = 0; i < cols.size(); i += 8) __builtin_prefetch(line + i, 1);
        }
        tile.c = buffer;
        tile.c_stride = kTileCols;
        tiles[static_cast<std::size_t>(rows.size() - 1)](tile);
        accumulate(MatrixView<const float>(buffer, rows.size(), cols.size(), kTileCols), row, col,
                   target.gradient);
    }
};

/// Columns `cols` of a block: all its row tiles against one panel of B, while the next panel is fetched.
template <class In, class Finish>
void update_columns(const Product<In>& product, const Block& block, const Source& a, Range cols,
                    Panels& panels, const Finish& finish) {
    const Source b = source_of_b(product, block, cols, panels.b);
    Tile tile{a.data, a.stride, b.data, b.stride, block.ks.size(), nullptr, 0, block.start};
    const index_t num_tiles = ceil_div(block.rows.size(), kTileRows);
    for (index_t tile_idx = 0; tile_idx < num_tiles; ++tile_idx, tile.a += a.step) {
        const index_t row = block.rows.begin + tile_idx * kTileRows;
        finish(tile, {row, std::min(row + kTileRows, block.rows.end)}, cols);
        prefetch_panel<kTileCols>(product.b, lines_of_b(product), cols.end, block.ks, num_tiles, tile_idx);
    }
}

template <class In, class Finish>
void update_block(const Product<In>& product, const Block& block, Panels& panels, const Finish& finish) {
    const Source a = source_of_a(product, block, panels.a);
    for (index_t col = 0; col < product.c.cols; col += kTileCols)
        update_columns(product, block, a, {col, std::min(col + kTileCols, product.c.cols)}, panels, finish);
}

/// Ranges of rows of C that one packed block of A serves.
index_t num_row_parts(index_t rows) {
    return ceil_div(rows, kBlockRows);
}
Range row_part(index_t rows, index_t part_idx) {
    const Range tiles = part_of(ceil_div(rows, kTileRows), num_row_parts(rows), part_idx);
    return {tiles.begin * kTileRows, std::min(tiles.end * kTileRows, rows)};
}

}  // namespace

index_t ordered_scratch_bytes() {
    return static_cast<index_t>(sizeof(Panels));
}

template <class In>
void multiply_ordered(const Product<In>& product, const TileFunctions& tiles, void* scratch) {
    const index_t num_k = check_sides(product);
    if (finish_empty(product, num_k)) return;
    Panels& panels = *static_cast<Panels*>(scratch);
    const StoreInC store{product.c, tiles, panels.c};
    const index_t k_parts = ceil_div(num_k, kBlockK);
    for (index_t part = 0; part < num_row_parts(product.c.rows); ++part) {
        for (index_t k_part = 0; k_part < k_parts; ++k_part) {
            const bool from_zero = product.beta == 0.0F && k_part == 0;
            update_block(product,
                         {row_part(product.c.rows, part), part_of(num_k, k_parts, k_part),
                          from_zero ? Tile::Start::from_zero : Tile::Start::from_c},
                         panels, store);
        }
    }
}

template <class In>
void add_product(const Product<In>& product, const GradientTile& target, const TileFunctions& tiles,
                 void* scratch) {
    const index_t num_k = check_sides(product);
    if (num_k > kBlockK) {
        multiply_ordered(product, tiles, scratch);
        accumulate(MatrixView<const float>(product.c), target.row, target.col, target.gradient);
        return;
    }
    Panels& panels = *static_cast<Panels*>(scratch);
    const AddToGradient add{target, tiles, panels.c};
    for (index_t part = 0; part < num_row_parts(product.c.rows); ++part)
        update_block(product, {row_part(product.c.rows, part), {0, num_k}, Tile::Start::from_zero}, panels,
                     add);
}

template void multiply_ordered<float>(const Product<float>&, const TileFunctions&, void*);
template void multiply_ordered<bf16>(const Product<bf16>&, const TileFunctions&, void*);
template void add_product<float>(const Product<float>&, const GradientTile&, const TileFunctions&, void*);
template void add_product<bf16>(const Product<bf16>&, const GradientTile&, const TileFunctions&, void*);

}  // namespace sy::ops::detail
