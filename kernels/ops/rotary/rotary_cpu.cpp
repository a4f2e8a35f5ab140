#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/rotary/rotary.hpp"

namespace sy::ops {

RotaryTable::RotaryTable(index_t num_positions, index_t head_dim, double theta)
    : num_positions_(num_positions), half_(head_dim / 2) {
    SY_REQUIRE(head_dim > 0 && head_dim % 2 == 0 && num_positions >= 0, "rotary: heads of ", head_dim,
               " (must be even), ", num_positions, " positions");
    cos_.reserve(static_cast<std::size_t>(num_positions * half_));
    sin_.reserve(static_cast<std::size_t>(num_positions * half_));
    for (index_t position = 0; position < num_positions; ++position) {
        for (index_t i = 0; i < half_; ++i) {
            const double angle =
                static_cast<double>(position) *
                std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
            cos_.push_back(static_cast<float>(std::cos(angle)));
            sin_.push_back(static_cast<float>(std::sin(angle)));
        }
    }
}

namespace {

/// `sign` is -1 to rotate back.
SY_INLINE void rotate_row(float* row, index_t width, index_t half, const float* cosines, const float* sines,
                          float sign) {
    for (float* head = row; head < row + width; head += 2 * half) {
        simd::for_lanes(
            half, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 a = load(head + i);
                const simd::f32x16 b = load(head + half + i);
                const simd::f32x16 c = load(cosines + i);
                const simd::f32x16 s = load(sines + i) * sign;
                store(head + i, a * c - b * s);
                store(head + half + i, b * c + a * s);
            });
    }
}

SY_MULTIVERSION void rotate_rows(MatrixView<float> x, std::span<const std::int32_t> position, Range rows,
                                 const RotaryTable& table, float sign) {
    const MatrixView<const float> cosines = table.cosines();
    const MatrixView<const float> sines = table.sines();
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const index_t offset = position[static_cast<std::size_t>(t)] * cosines.stride;
        rotate_row(x.data + t * x.stride, x.cols, cosines.cols, cosines.data + offset, sines.data + offset,
                   sign);
    }
}

}  // namespace

void rotary(MatrixView<float> x, index_t head_dim, std::span<const std::int32_t> position,
            const RotaryTable& table, Direction direction, const Context& context) {
    const index_t half = table.cosines().cols;
    SY_REQUIRE(
        half * 2 == head_dim && x.cols % head_dim == 0 && static_cast<index_t>(position.size()) == x.rows,
        "rotary: rows of ", x.cols, ", heads of ", head_dim, ", table for ", half * 2, ", ", position.size(),
        " positions for ", x.rows, " rows");
    const Timed timed(context, OpKind::elementwise, 3.0 * static_cast<double>(x.rows * x.cols));
    for (const std::int32_t where : position) {
        SY_REQUIRE(where >= 0 && where < table.num_positions(), "rotary: position ", where,
                   " beyond the table's ", table.num_positions());
    }
    const float sign = direction == Direction::forward ? 1.0F : -1.0F;
    context.team.for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        rotate_rows(x, position, {begin, end}, table, sign);
    });
}

}  // namespace sy::ops
