#include <algorithm>
#include <cstring>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/quantize/quantize.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

using u8x16 = std::uint8_t __attribute__((vector_size(16)));

constexpr float kLargest = 448.0F;
/// A smaller scale would be subnormal, and x / scale might be infinite.
constexpr float kSmallestScale = 0x1p-126F;

/// Where the scales of a row begin, behind its codes.
constexpr index_t scales_begin(index_t cols) {
    return round_up(cols, 4);
}

SY_INLINE simd::u32x16 bits_of(simd::f32x16 value) {
    simd::u32x16 bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}
SY_INLINE simd::f32x16 value_of(simd::u32x16 bits) {
    simd::f32x16 value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

/// Codes of values of up to 448, rounded to nearest even.
SY_INLINE simd::u32x16 encode(simd::f32x16 value) {
    const simd::u32x16 bits = bits_of(value);
    const simd::u32x16 magnitude = bits & 0x7fffffffU;
    // Three bits of the mantissa, and an exponent with bias 7 instead of 127.
    const simd::u32x16 normal = ((magnitude + 0x7ffffU + ((magnitude >> 20) & 1U)) >> 20) - (120U << 3);
    // Below 2^-6 codes are multiples of 2^-9, to which the addition rounds.
    constexpr float kAnchor = 0x1p14F;
    const simd::u32x16 subnormal = bits_of(value_of(magnitude) + kAnchor) - bits_of(simd::splat(kAnchor));
    const simd::u32x16 is_subnormal = 0U - ((magnitude - 0x3c800000U) >> 31);
    return (((normal & ~is_subnormal) | (subnormal & is_subnormal)) & 0x7fU) | ((bits >> 24) & 0x80U);
}

SY_INLINE simd::f32x16 decode(simd::u32x16 codes) {
    return value_of(((codes & 0x7fU) << 20) | ((codes & 0x80U) << 24)) * 0x1p120F;
}

/// The scale of a block: NaN where a value is not finite, as the largest bits of its magnitudes tell.
SY_INLINE float scale_of(simd::u32x16 magnitudes) {
    std::uint32_t largest = 0;
    for (int lane = 0; lane < 16; ++lane) largest = std::max(largest, magnitudes[lane]);
    const auto value = std::bit_cast<float>(largest);
    if (largest >= 0x7f800000U) return std::bit_cast<float>(0x7fc00000U);
    return std::max(value / kLargest, kSmallestScale);
}

template <class T>
void quantize_row(const T* x, index_t cols, std::uint8_t* out) {
    simd::for_isa([=]() SY_BODY {
        std::uint8_t* scales = out + scales_begin(cols);
        for (index_t begin = 0; begin < cols; begin += kQuantizedBlock) {
            const index_t count = std::min(kQuantizedBlock, cols - begin);
            simd::u32x16 magnitudes{};
            simd::for_lanes(count, [&](index_t i, auto load, auto) SY_BODY {
                const simd::u32x16 of_lanes = bits_of(load(x + begin + i)) & 0x7fffffffU;
#pragma omp simd
                for (int lane = 0; lane < 16; ++lane)
                    magnitudes[lane] = magnitudes[lane] > of_lanes[lane] ? magnitudes[lane] : of_lanes[lane];
            });
            const float scale = scale_of(magnitudes);
            std::memcpy(scales, &scale, sizeof(scale));
            scales += sizeof(scale);
            simd::for_lanes(count, [&](index_t i, auto load, auto) SY_BODY {
                const simd::u32x16 codes = encode(load(x + begin + i) / scale);
                const u8x16 bytes = __builtin_convertvector(codes, u8x16);
                std::memcpy(out + begin + i, &bytes,
                            static_cast<std::size_t>(std::min(simd::kLanes, count - i)));
            });
        }
        // What pads the codes is sent too.
        std::fill(out + cols, out + scales_begin(cols), std::uint8_t{0});
    });
}

template <class T>
void dequantize_row(const std::uint8_t* x, T* out, index_t cols) {
    simd::for_isa([=]() SY_BODY {
        const std::uint8_t* scales = x + scales_begin(cols);
        for (index_t begin = 0; begin < cols; begin += kQuantizedBlock) {
            const index_t count = std::min(kQuantizedBlock, cols - begin);
            float scale = 0.0F;
            std::memcpy(&scale, scales, sizeof(scale));
            scales += sizeof(scale);
            simd::for_lanes(count, [&](index_t i, auto, auto store) SY_BODY {
                u8x16 bytes{};
                std::memcpy(&bytes, x + begin + i,
                            static_cast<std::size_t>(std::min(simd::kLanes, count - i)));
                store(out + begin + i, decode(__builtin_convertvector(bytes, simd::u32x16)) * scale);
            });
        }
    });
}

template <class T>
void quantize(MatrixView<const T> x, MatrixView<std::uint8_t> out, const Context& context) {
    cpu(context).team().for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) quantize_row(x.row(t), x.cols, out.row(t));
    });
}

template <class T>
void dequantize(MatrixView<const std::uint8_t> x, std::span<const std::int32_t> row, MatrixView<T> out,
                const Context& context) {
    cpu(context).team().for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i)
            dequantize_row(x.row(row[static_cast<std::size_t>(i)]), out.row(i), out.cols);
    });
}

}  // namespace

void on_cpu::quantize_rows(ConstTensorRef x, TensorRef out, const Context& context) {
    dispatch_dtype(x.dtype(),
                   [&]<class T>() { quantize(host<const T>(x), host<std::uint8_t>(out), context); });
}

void on_cpu::dequantize_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                             const Context& context) {
    dispatch_dtype(out.dtype(),
                   [&]<class T>() { dequantize(host<const std::uint8_t>(x), row, host<T>(out), context); });
}

}  // namespace sy::ops
