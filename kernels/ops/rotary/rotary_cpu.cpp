#include "kernels/core/profile.hpp"
#include "kernels/core/readable_list.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// cos and sin of a row's position, [half] each; `sign` is -1 to rotate back.
struct Rotation {
    const float* cosines;
    const float* sines;
    index_t half;
    float sign;
};

SY_INLINE void rotate_half_split(float* head, const Rotation& rotation) {
    const index_t half = rotation.half;
    simd::for_lanes(half, [&](index_t i, auto load, auto store) SY_BODY {
        const simd::f32x16 a = load(head + i);
        const simd::f32x16 b = load(head + half + i);
        const simd::f32x16 c = load(rotation.cosines + i);
        const simd::f32x16 s = load(rotation.sines + i) * rotation.sign;
        store(head + i, a * c - b * s);
        store(head + half + i, b * c + a * s);
    });
}

SY_INLINE void rotate_interleaved(float* head, const Rotation& rotation) {
    index_t i = 0;
    for (; i + simd::kLanes <= rotation.half; i += simd::kLanes) {
        const simd::f32x16 low = simd::load(head + 2 * i);
        const simd::f32x16 high = simd::load(head + 2 * i + simd::kLanes);
        const simd::f32x16 a =
            __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const simd::f32x16 b =
            __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        const simd::f32x16 c = simd::load(rotation.cosines + i);
        const simd::f32x16 s = simd::load(rotation.sines + i) * rotation.sign;
        const simd::f32x16 first = a * c - b * s;
        const simd::f32x16 second = b * c + a * s;
        simd::store(head + 2 * i, __builtin_shufflevector(first, second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                                          21, 6, 22, 7, 23));
        simd::store(head + 2 * i + simd::kLanes,
                    __builtin_shufflevector(first, second, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                            30, 15, 31));
    }
    for (; i < rotation.half; ++i) {
        const float a = head[2 * i];
        const float b = head[2 * i + 1];
        const float s = rotation.sines[i] * rotation.sign;
        head[2 * i] = a * rotation.cosines[i] - b * s;
        head[2 * i + 1] = b * rotation.cosines[i] + a * s;
    }
}

struct RotaryRows {
    MatrixView<float> x;
    RotaryHeads heads;
    std::span<const std::int32_t> position;
    MatrixView<const float> cosines;
    MatrixView<const float> sines;
    RotaryPairs pairs;
    float sign;
};

void rotate_rows(const RotaryRows& op, Range rows) {
    simd::for_isa([=, &op]() SY_BODY {
        const MatrixView<const float> cosines = op.cosines;
        const MatrixView<const float> sines = op.sines;
        const bool interleaved = op.pairs == RotaryPairs::interleaved;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const index_t offset = op.position[static_cast<std::size_t>(t)] * cosines.stride;
            const Rotation rotation{cosines.data + offset, sines.data + offset, cosines.cols, op.sign};
            float* const row = op.x.data + t * op.x.stride + op.heads.first_dim;
            for (index_t col = 0; col < op.x.cols; col += op.heads.head_dim) {
                if (interleaved) {
                    rotate_interleaved(row + col, rotation);
                } else {
                    rotate_half_split(row + col, rotation);
                }
            }
        }
    });
}

}  // namespace

void on_cpu::rotary(TensorRef in_place, RotaryHeads heads, List<std::int32_t> position,
                    const RotaryTable& table, Direction direction, const Context& context) {
    const auto x = host<float>(in_place);
    const float sign = direction == Direction::forward ? 1.0F : -1.0F;
    const RotaryRows op{x,
                        heads,
                        host_values(position),
                        host<const float>(table.cosines()),
                        host<const float>(table.sines()),
                        table.pairs(),
                        sign};
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        rotate_rows(op, {begin, end});
    });
}

}  // namespace sy::ops
