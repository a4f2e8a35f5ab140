#include "kernels/ops/activation/nonlinearity.hpp"
#include "kernels/ops/activation/rows.hpp"

namespace sy::ops {
namespace {

/// A piece of a row: its operands, f and its slope. Without a gate `gate` and `dgate` are null.
template <class In>
struct Piece {
    const In* gate;
    const In* up;
    const float* dh;
    In* h;
    In* dgate;
    In* dup;
    index_t count;
    float weight;
};

/// To float32 and whole vectors.
template <class In>
void widen(const In* x, index_t count, float* wide) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(count,
                        [&](index_t i, auto load, auto) SY_BODY { simd::store(wide + i, load(x + i)); });
    });
}

/// @param value, slope  of f at the gate
/// @param dot           [kLanes] sums over a row's pieces
template <class In>
void differentiate_gated(const Piece<In>& piece, const float* value, const float* slope, float* dot) {
    simd::for_isa([=]() SY_BODY {
        simd::f32x16 sums = simd::load(dot);
        simd::for_lanes(piece.count, [&](index_t i, auto load, auto store) SY_BODY {
            const simd::f32x16 u = load(piece.up + i);
            const simd::f32x16 unweighted = load(piece.dh + i);
            const simd::f32x16 d = unweighted * piece.weight;
            const simd::f32x16 f = load(value + i);
            const simd::f32x16 activated = f * u;
            sums += activated * unweighted;
            store(piece.h + i, activated * piece.weight);
            store(piece.dgate + i, d * u * load(slope + i));
            store(piece.dup + i, d * f);
        });
        simd::store(dot, sums);
    });
}

/// The same where f is of `up`.
template <class In>
void differentiate_plain(const Piece<In>& piece, const float* value, const float* slope, float* dot) {
    simd::for_isa([=]() SY_BODY {
        simd::f32x16 sums = simd::load(dot);
        simd::for_lanes(piece.count, [&](index_t i, auto load, auto store) SY_BODY {
            const simd::f32x16 unweighted = load(piece.dh + i);
            const simd::f32x16 f = load(value + i);
            sums += f * unweighted;
            store(piece.h + i, f * piece.weight);
            store(piece.dup + i, unweighted * piece.weight * load(slope + i));
        });
        simd::store(dot, sums);
    });
}

template <class In>
Piece<In> piece_of(const ActivateBackward<In>& block, index_t r, Range cols) {
    const auto from = [&](auto matrix) {
        auto* const row = detail::row_or_null(matrix, r);
        return row == nullptr ? nullptr : row + cols.begin;
    };
    return {from(block.gate),  from(block.up),  from(block.dh), from(block.h),
            from(block.dgate), from(block.dup), cols.size(),    detail::weight_of(block.weight, r)};
}

/// @return the gradient of the row's weight
template <class In>
float differentiate_row(const ActivateBackward<In>& block, index_t r) {
    alignas(64) float value[detail::kPieceElements];
    alignas(64) float slope[detail::kPieceElements];
    float dot[simd::kLanes] = {};
    const bool gated = is_gated(block.kind);
    detail::for_pieces(block.up.cols, [&](Range cols) {
        const Piece<In> piece = piece_of(block, r, cols);
        widen(gated ? piece.gate : piece.up, piece.count, value);
        detail::evaluate_with_slope(block.kind, value, slope, round_up(piece.count, simd::kLanes));
        if (gated) {
            differentiate_gated(piece, value, slope, dot);
        } else {
            differentiate_plain(piece, value, slope, dot);
        }
    });
    return simd::sum(simd::load(dot));
}

template <class In>
void check(const ActivateBackward<In>& block) {
    const bool gated = is_gated(block.kind);
    SY_REQUIRE(detail::fits(block.gate, block.up, detail::present_if(gated)) &&
                   detail::fits(block.dh, block.up) && detail::fits(block.h, block.up) &&
                   detail::fits(block.dgate, block.up, detail::present_if(gated)) &&
                   detail::fits(block.dup, block.up) && detail::fits_or_empty(block.weight, block.up.rows) &&
                   detail::fits_or_empty(block.dot, block.up.rows),
               activation_name(block.kind), " backward: gate [", block.gate.rows, ", ", block.gate.cols,
               "], up [", block.up.rows, ", ", block.up.cols, "], dh [", block.dh.rows, ", ", block.dh.cols,
               "], h [", block.h.rows, ", ", block.h.cols, "], dgate [", block.dgate.rows, ", ",
               block.dgate.cols, "], dup [", block.dup.rows, ", ", block.dup.cols, "], ", block.weight.size(),
               " weights, ", block.dot.size(), " dots");
}

}  // namespace

template <class In>
void activate_backward(const ActivateBackward<In>& block) {
    check(block);
    for (index_t r = 0; r < block.up.rows; ++r) {
        const float dot = differentiate_row(block, r);
        if (!block.dot.empty()) block.dot[static_cast<std::size_t>(r)] = dot;
    }
}

template void activate_backward<float>(const ActivateBackward<float>&);
template void activate_backward<bf16>(const ActivateBackward<bf16>&);

}  // namespace sy::ops
