#include "kernels/ops/gemm/blocked.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/ops/gemm/pack.hpp"

namespace sy::ops::detail {
namespace {

constexpr index_t kMostBlockRows = 40 * kTileRows;
constexpr index_t kMostBlockK = 256;
constexpr index_t kMostPanelCols = 32;
/// From one row of a copied block of A to the next: a few cache lines more than the row, so that rows of a tile do not
/// share cache sets.
constexpr index_t kCopyStride = kMostBlockK * kWordBytes + 64;

/// Working memory of one thread.
struct Scratch {
    alignas(64) std::byte a[kMostBlockRows * kCopyStride];
    alignas(64) std::byte b[kMostBlockK * kMostPanelCols * kWordBytes];
    alignas(64) float c[kTileRows * kMostPanelCols];
};

Words words_of(const Kernels& kernels) {
    return kernels.pairs ? Words::pairs : Words::floats;
}

/// A product and what it is computed with.
template <class In>
struct Call {
    const HostProduct<In>& product;
    const Kernels& kernels;
    Scratch& scratch;
    index_t num_k;

    Words words() const { return words_of(kernels); }
    index_t num_words() const { return ceil_div(num_k, elements_per_word(words())); }
    Lines lines_of_a() const {
        return product.transpose_a == Transpose::no ? Lines::are_rows : Lines::are_columns;
    }
    Lines lines_of_b() const {
        return product.transpose_b == Transpose::no ? Lines::are_columns : Lines::are_rows;
    }
    PanelSource<In> source(const MatrixView<const In>& x, Lines lines, Range ks, Range picked) const {
        return {x, lines, words(), Elements(words(), ks, num_k).range, picked};
    }
};

/// The ranges of C and of the words of the sum that one block of A serves.
struct Block {
    Range rows;
    Range ks;
    Tile::Start start;
};

template <class In>
index_t row_bytes(const MatrixView<const In>& x) {
    return x.stride * index_t{sizeof(In)};
}

/// A block of A as the kernels read it.
struct BlockOfA {
    const std::byte* data;
    index_t stride;
    index_t step;  ///< from one tile of rows to the next
    TileFunctions PanelKernels::*functions;
};

/// Whether rows of A can be read where they are: their elements make words as they stand, and tiles of them do not crowd
/// into the same sets of a cache, as rows a whole number of pages apart do.
template <class In>
bool reads_rows_in_place(const Call<In>& call) {
    constexpr index_t kPage = 4096;
    const bool whole_words = std::is_same_v<In, float> || (call.kernels.pairs && call.num_k % 2 == 0);
    return whole_words && row_bytes(call.product.a) % kPage != 0;
}

template <class In>
BlockOfA block_of_a(const Call<In>& call, const Block& block) {
    const MatrixView<const In>& a = call.product.a;
    const Lines lines = call.lines_of_a();
    const PanelSource<In> whole = call.source(a, lines, block.ks, block.rows);
    if (lines == Lines::are_rows && reads_rows_in_place(call)) {
        const In* const first = a.row(block.rows.begin) + whole.elements.begin;
        return {reinterpret_cast<const std::byte*>(first), row_bytes(a), kTileRows * row_bytes(a),
                &PanelKernels::a_in_rows};
    }
    std::byte* const copy = call.scratch.a;
    if (lines == Lines::are_rows) {
        copy_rows(whole, copy, kCopyStride);
        return {copy, kCopyStride, kTileRows * kCopyStride, &PanelKernels::a_in_rows};
    }
    const index_t step = block.ks.size() * kTileRows * kWordBytes;
    pack_panels(whole, {copy, kTileRows, step});
    return {copy, kTileRows * kWordBytes, step, &PanelKernels::a_in_panels};
}

/// A kernel, and the columns of C that it writes.
struct Body {
    TileFunction run;
    index_t cols;
};

/// Updates a tile of C where it is; at the right edge through a dense buffer of full width.
template <class In>
void update_tile(const Call<In>& call, Tile tile, Body body, Range rows, Range cols) {
    const MatrixView<float> part = call.product.c.rows_of(rows).cols_of(cols);
    tile.c = part.data;
    tile.c_stride = part.stride;
    if (cols.size() == body.cols) return body.run(tile);
    const auto bytes = static_cast<std::size_t>(cols.size()) * sizeof(float);
    float* const buffer = call.scratch.c;
    tile.c = buffer;
    tile.c_stride = body.cols;
    if (tile.start == Tile::Start::from_c) {
        std::memset(buffer, 0, sizeof(call.scratch.c));
        for (index_t row = 0; row < part.rows; ++row)
            std::memcpy(buffer + row * body.cols, part.row(row), bytes);
    }
    body.run(tile);
    for (index_t row = 0; row < part.rows; ++row) std::memcpy(part.row(row), buffer + row * body.cols, bytes);
}

/// Whether few rows are to share a panel that the kernels could as well read where it is.
template <class In>
bool reads_b_in_place(const Call<In>& call, const Block& block) {
    return std::is_same_v<In, float> && call.product.transpose_b == Transpose::no &&
           block.rows.size() <= call.kernels.in_place_rows;
}

/// Columns `cols` of a block: all its tiles against one packed panel of B, while what becomes the next panel is fetched.
template <class In>
void update_columns(const Call<In>& call, const Block& block, const BlockOfA& a, Range cols) {
    const Kernels& kernels = call.kernels;
    const PanelKernels& panel = cols.size() > kernels.narrow.cols ? kernels.wide : kernels.narrow;
    const PanelSource<In> source = call.source(call.product.b, call.lines_of_b(), block.ks, cols);
    PanelSource<In> next = source;
    next.picked = {cols.end, std::min(cols.end + kernels.wide.cols, call.product.c.cols)};
    Tile tile{a.data,  a.stride, call.scratch.b, panel.cols * kWordBytes, block.ks.size(),
              nullptr, 0,        block.start};
    if (reads_b_in_place(call, block) && cols.size() == panel.cols) {
        tile.b = reinterpret_cast<const std::byte*>(call.product.b.row(block.ks.begin) + cols.begin);
        tile.b_stride = row_bytes(call.product.b);
    } else {
        pack_panels(source, {call.scratch.b, panel.cols, 0});
    }
    const index_t num_tiles = ceil_div(block.rows.size(), kTileRows);
    for (index_t tile_idx = 0; tile_idx < num_tiles; ++tile_idx, tile.a += a.step) {
        const index_t row = block.rows.begin + tile_idx * kTileRows;
        const Range rows{row, std::min(row + kTileRows, block.rows.end)};
        const TileFunction run = (panel.*a.functions)[static_cast<std::size_t>(rows.size() - 1)];
        update_tile(call, tile, {run, panel.cols}, rows, cols);
        prefetch_lines(next, num_tiles, tile_idx);
    }
}

template <class In>
void update_block(const Call<In>& call, const Block& block) {
    const BlockOfA a = block_of_a(call, block);
    const index_t width = call.kernels.wide.cols;
    for (index_t col = 0; col < call.product.c.cols; col += width)
        update_columns(call, block, a, {col, std::min(col + width, call.product.c.cols)});
}

/// Calls body(block) for all blocks of A, those of the same rows in ascending order of k.
template <class In, class Body>
void for_blocks_of_a(const Call<In>& call, index_t block_k, const Body& body) {
    const index_t rows = call.product.c.rows;
    const index_t row_parts = ceil_div(rows, call.kernels.block_rows);
    const index_t k_parts = ceil_div(call.num_words(), block_k);
    for (index_t part = 0; part < row_parts; ++part) {
        for (index_t k_part = 0; k_part < k_parts; ++k_part) {
            const bool from_zero = call.product.write == Write::overwrite && k_part == 0;
            body(Block{row_part_of(rows, row_parts, part), part_of(call.num_words(), k_parts, k_part),
                       from_zero ? Tile::Start::from_zero : Tile::Start::from_c});
        }
    }
}

/// Words of k that a single tile of rows takes at once, where nothing has to be copied: all, or, where rows of B are a page or
/// more apart, so few that whole rows are read side by side, as the processor fetches ahead. Sums then wait in C.
template <class In>
index_t words_of_single_tile(const Call<In>& call) {
    constexpr index_t kPage = 4096;
    constexpr index_t kFewRows = 4;
    constexpr index_t kRowsOfB = 8;
    const bool far_apart = row_bytes(call.product.b) >= kPage && call.product.c.rows <= kFewRows;
    return far_apart ? kRowsOfB : call.num_words();
}

/// Rows of C that are too few to pay for packing B. All columns but those at the right edge that no kernel is made for.
/// @return the columns that are done
template <class In>
index_t multiply_in_place(const Call<In>& call) {
    const HostProduct<In>& product = call.product;
    const index_t num_rows = product.c.rows;
    const index_t num_tiles = ceil_div(num_rows, kTileRows);
    const Range first_tile = part_of(num_rows, num_tiles, 0);
    const InPlaceKernels& kernels = call.kernels.in_place;
    const auto cols_of = [&](const std::array<InPlaceFunction, kTileRows>& bodies) {
        return bodies[static_cast<std::size_t>(first_tile.size() - 1)].cols;
    };
    const index_t wide_end = product.c.cols / cols_of(kernels.wide) * cols_of(kernels.wide);
    const index_t narrow_tiles = (product.c.cols - wide_end) / cols_of(kernels.narrow);
    const index_t done = wide_end + narrow_tiles * cols_of(kernels.narrow);
    const bool single = num_tiles == 1 && reads_rows_in_place(call);
    const index_t block_k = single ? words_of_single_tile(call) : call.kernels.block_k;
    for_blocks_of_a(call, block_k, [&](const Block& block) {
        const BlockOfA a = block_of_a(call, block);
        const Range elements = Elements(call.words(), block.ks, call.num_k).range;
        for (index_t col = 0; col < done;) {
            const auto& bodies = col < wide_end ? kernels.wide : kernels.narrow;
            const In* const b = product.b.row(elements.begin) + col;
            for (index_t tile_idx = 0; tile_idx < num_tiles; ++tile_idx) {
                const Range rows = part_of(num_rows, num_tiles, tile_idx);
                const Tile tile{a.data + rows.begin * a.stride,
                                a.stride,
                                reinterpret_cast<const std::byte*>(b),
                                row_bytes(product.b),
                                elements.size(),
                                product.c.row(rows.begin) + col,
                                product.c.stride,
                                block.start};
                bodies[static_cast<std::size_t>(rows.size() - 1)].run(tile);
            }
            col += cols_of(bodies);
        }
    });
    return done;
}

/// Words of block `block_idx`; the last has one element where they are odd.
index_t words_of_block(Words words, std::span<const index_t> blocks, std::size_t block_idx) {
    return ceil_div(blocks[block_idx + 1] - blocks[block_idx], elements_per_word(words));
}

/// A block with more words than one block of k: its sums pass through memory.
template <class In>
void add_long_block(const GradientProduct<In>& product, Range rows, const Kernels& kernels, void* scratch) {
    multiply_blocked<In>(
        {product.x.rows_of(rows), Transpose::yes, product.dy.rows_of(rows), Transpose::no, product.scratch},
        kernels, scratch);
    accumulate(MatrixView<const float>(product.scratch), product.row, product.col, product.gradient);
}

/// Blocks of rows that are taken together.
template <class In>
struct Group {
    const GradientProduct<In>& product;
    std::span<const index_t> blocks;
    const Kernels& kernels;
    Scratch& scratch;

    Words words() const { return words_of(kernels); }
    index_t num_words() const {
        index_t sum = 0;
        for (std::size_t b = 0; b + 1 < blocks.size(); ++b) sum += words_of_block(words(), blocks, b);
        return sum;
    }
    PanelSource<In> source(const MatrixView<const In>& x, Range rows, Range picked) const {
        return {x, Lines::are_columns, words(), rows, picked};
    }
    /// Packs the columns `picked` of x, each block of rows from a word of its own.
    void pack(const MatrixView<const In>& x, Range picked, Panels panels) const {
        for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
            pack_panels(source(x, {blocks[b], blocks[b + 1]}, picked), panels);
            panels.data += words_of_block(words(), blocks, b) * panels.width * kWordBytes;
        }
    }
};

/// Adds the sums of all blocks of a group to one tile of the gradient.
template <class In>
void add_tile(const Group<In>& group, Tile tile, const PanelKernels& panel, Range rows, Range cols) {
    const GradientProduct<In>& product = group.product;
    const index_t row = product.row + rows.begin;
    const index_t col = product.col + cols.begin;
    const auto body = static_cast<std::size_t>(rows.size() - 1);
    const bool straight = panel.into_fixed[body] != nullptr && cols.size() == panel.cols;
    // On the way from memory while the first sum is computed.
    for (index_t r = 0; r < rows.size(); ++r) {
        const std::int64_t* const line = product.gradient.fixed + (row + r) * product.gradient.cols + col;
        for (index_t i = 0; i < cols.size(); i += 8) __builtin_prefetch(line + i, 1);
    }
    for (std::size_t b = 0; b + 1 < group.blocks.size(); ++b) {
        tile.num_k = words_of_block(group.words(), group.blocks, b);
        if (straight) {
            panel.into_fixed[body](tile, product.gradient, row, col);
        } else {
            panel.a_in_panels[body](tile);
            accumulate(MatrixView<const float>(tile.c, rows.size(), cols.size(), tile.c_stride), row, col,
                       product.gradient);
        }
        tile.a += tile.num_k * tile.a_stride;
        tile.b += tile.num_k * tile.b_stride;
    }
}

template <class In>
void add_group(const GradientProduct<In>& product, std::span<const index_t> blocks, const Kernels& kernels,
               Scratch& scratch) {
    const Group<In> group{product, blocks, kernels, scratch};
    const index_t num_rows = product.x.cols;
    const index_t num_cols = product.dy.cols;
    const index_t step = group.num_words() * kTileRows * kWordBytes;
    const index_t row_parts = ceil_div(num_rows, kernels.block_rows);
    for (index_t part = 0; part < row_parts; ++part) {
        const Range block_rows = row_part_of(num_rows, row_parts, part);
        const index_t num_tiles = ceil_div(block_rows.size(), kTileRows);
        group.pack(product.x, block_rows, {scratch.a, kTileRows, step});
        for (index_t col = 0; col < num_cols; col += kernels.wide.cols) {
            const Range cols{col, std::min(col + kernels.wide.cols, num_cols)};
            const PanelKernels& panel = cols.size() > kernels.narrow.cols ? kernels.wide : kernels.narrow;
            group.pack(product.dy, cols, {scratch.b, panel.cols, 0});
            const PanelSource<In> next =
                group.source(product.dy, {blocks.front(), blocks.back()},
                             {cols.end, std::min(cols.end + kernels.wide.cols, num_cols)});
            for (index_t tile_idx = 0; tile_idx < num_tiles; ++tile_idx) {
                const index_t row = block_rows.begin + tile_idx * kTileRows;
                const Range rows{row, std::min(row + kTileRows, block_rows.end)};
                const Tile tile{scratch.a + tile_idx * step,
                                kTileRows * kWordBytes,
                                scratch.b,
                                panel.cols * kWordBytes,
                                0,
                                scratch.c,
                                panel.cols,
                                Tile::Start::from_zero};
                add_tile(group, tile, panel, rows, cols);
                prefetch_lines(next, num_tiles, tile_idx);
            }
        }
    }
}

}  // namespace

index_t blocked_scratch_bytes() {
    return static_cast<index_t>(sizeof(Scratch));
}

template <class In>
void multiply_blocked(const HostProduct<In>& product, const Kernels& kernels, void* scratch) {
    const index_t num_k = product.transpose_a == Transpose::yes ? product.a.rows : product.a.cols;
    HostProduct<In> rest = product;
    const Call<In> call{rest, kernels, *static_cast<Scratch*>(scratch), num_k};
    if (product.c.rows <= kernels.in_place_rows && product.transpose_a == Transpose::no &&
        product.transpose_b == Transpose::no) {
        const Range cols{multiply_in_place(call), product.c.cols};
        if (cols.size() == 0) return;
        rest.b = product.b.cols_of(cols);
        rest.c = product.c.cols_of(cols);
    }
    for_blocks_of_a(call, kernels.block_k, [&](const Block& block) { update_block(call, block); });
}

template <class In>
void add_blocked(const GradientProduct<In>& product, const Kernels& kernels, void* scratch) {
    const std::span<const index_t> blocks = product.blocks;
    const Words words = words_of(kernels);
    for (std::size_t first = 0; first + 1 < blocks.size();) {
        std::size_t last = first + 1;
        index_t num_words = words_of_block(words, blocks, first);
        if (num_words > kernels.block_k) {
            add_long_block(product, {blocks[first], blocks[last]}, kernels, scratch);
        } else {
            for (; last + 1 < blocks.size(); ++last) {
                num_words += words_of_block(words, blocks, last);
                if (num_words > kernels.block_k) break;
            }
            add_group(product, blocks.subspan(first, last + 1 - first), kernels,
                      *static_cast<Scratch*>(scratch));
        }
        first = last;
    }
}

template void multiply_blocked<float>(const HostProduct<float>&, const Kernels&, void*);
template void multiply_blocked<bf16>(const HostProduct<bf16>&, const Kernels&, void*);
template void add_blocked<float>(const GradientProduct<float>&, const Kernels&, void*);
template void add_blocked<bf16>(const GradientProduct<bf16>&, const Kernels&, void*);

}  // namespace sy::ops::detail
