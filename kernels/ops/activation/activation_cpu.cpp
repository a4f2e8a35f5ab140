#include "kernels/ops/activation/nonlinearity.hpp"
#include "kernels/ops/activation/rows.hpp"

namespace sy::ops {
namespace {

/// A piece of a row of projections: what its bias adds, and where the sum is kept. Null where there is none.
template <class In>
struct Piece {
    const float* x;
    const float* bias;
    In* kept;
    index_t count;
};

template <class In>
Piece<In> piece_of(MatrixView<const float> x, std::span<const float> bias, MatrixView<In> kept, index_t row,
                   Range cols) {
    return {x.row(row) + cols.begin, bias.empty() ? nullptr : bias.data() + cols.begin,
            kept.data == nullptr ? nullptr : kept.row(row) + cols.begin, cols.size()};
}

/// The lanes at i of a piece with their bias, kept where that is wanted.
template <class In, class Load, class Store>
SY_INLINE simd::f32x16 project(const Piece<In>& piece, index_t i, Load load, Store store) {
    simd::f32x16 value = load(piece.x + i);
    if (piece.bias != nullptr) value += load(piece.bias + i);
    if (piece.kept != nullptr) store(piece.kept + i, value);
    return value;
}

/// The argument of f, to whole vectors.
template <class In>
void project_argument(const Piece<In>& piece, float* argument) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(piece.count, [&](index_t i, auto load, auto store) SY_BODY {
            simd::store(argument + i, project(piece, i, load, store));
        });
    });
}

template <class In>
void write_gated(const Piece<In>& up, const float* activated, float weight, In* h) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(up.count, [&](index_t i, auto load, auto store) SY_BODY {
            store(h + i, load(activated + i) * project(up, i, load, store) * weight);
        });
    });
}

template <class In>
void write_plain(const float* activated, index_t count, float weight, In* h) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(count, [&](index_t i, auto load, auto store)
                                   SY_BODY { store(h + i, load(activated + i) * weight); });
    });
}

template <class In>
void activate_piece(const Activate<In>& block, index_t r, Range cols) {
    alignas(64) float activated[detail::kPieceElements];
    const float weight = detail::weight_of(block.weight, r);
    In* const h = block.h.row(r) + cols.begin;
    const Piece<In> up = piece_of(block.up, block.up_bias, block.kept_up, r, cols);
    const bool gated = is_gated(block.kind);
    project_argument(gated ? piece_of(block.gate, block.gate_bias, block.kept_gate, r, cols) : up, activated);
    detail::evaluate(block.kind, activated, round_up(cols.size(), simd::kLanes));
    if (gated) {
        write_gated(up, activated, weight, h);
    } else {
        write_plain(activated, cols.size(), weight, h);
    }
}

template <class In>
void check(const Activate<In>& block) {
    const bool gated = is_gated(block.kind);
    const bool keeps = block.kept_up.data != nullptr;
    const bool biased = !block.up_bias.empty();
    SY_REQUIRE(detail::fits(block.gate, block.up, detail::present_if(gated)) &&
                   detail::fits(block.h, block.up) &&
                   detail::fits(block.kept_gate, block.up, detail::present_if(gated && keeps)) &&
                   detail::fits(block.kept_up, block.up, detail::present_if(keeps)) &&
                   detail::fits_or_empty(block.up_bias, block.up.cols) &&
                   detail::fits_or_empty(block.gate_bias, block.up.cols) &&
                   block.gate_bias.empty() != (gated && biased) &&
                   detail::fits_or_empty(block.weight, block.up.rows),
               activation_name(block.kind), ": gate [", block.gate.rows, ", ", block.gate.cols, "], up [",
               block.up.rows, ", ", block.up.cols, "], h [", block.h.rows, ", ", block.h.cols, "], kept [",
               block.kept_gate.rows, ", ", block.kept_gate.cols, "] and [", block.kept_up.rows, ", ",
               block.kept_up.cols, "], biases ", block.gate_bias.size(), " and ", block.up_bias.size(), ", ",
               block.weight.size(), " weights");
}

}  // namespace

template <class In>
void activate(const Activate<In>& block) {
    check(block);
    for (index_t r = 0; r < block.up.rows; ++r)
        detail::for_pieces(block.up.cols, [&](Range cols) { activate_piece(block, r, cols); });
}

template void activate<float>(const Activate<float>&);
template void activate<bf16>(const Activate<bf16>&);

}  // namespace sy::ops
