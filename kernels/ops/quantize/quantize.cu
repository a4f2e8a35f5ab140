#include "kernels/ops/quantize/quantize.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"

namespace sy::ops {
namespace {

constexpr float kLargest = 448.0F;
/// A smaller scale would be subnormal, and x / scale might be infinite.
constexpr float kSmallestScale = 0x1p-126F;

/// Where the scales of a row begin, behind its codes.
__device__ index_t scales_begin(index_t cols) {
    return (cols + 3) / 4 * 4;
}

/// The code of a value of up to 448, rounded to nearest even.
__device__ std::uint8_t encode(float value) {
    const std::uint32_t bits = __float_as_uint(value);
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    // Three bits of the mantissa, and an exponent with bias 7 instead of 127.
    const std::uint32_t normal = ((magnitude + 0x7ffffU + ((magnitude >> 20) & 1U)) >> 20) - (120U << 3);
    // Below 2^-6 codes are multiples of 2^-9, to which the addition rounds.
    constexpr float kAnchor = 0x1p14F;
    const std::uint32_t subnormal =
        __float_as_uint(__uint_as_float(magnitude) + kAnchor) - __float_as_uint(kAnchor);
    const std::uint32_t code = magnitude < 0x3c800000U ? subnormal : normal;
    return static_cast<std::uint8_t>((code & 0x7fU) | ((bits >> 24) & 0x80U));
}

__device__ float decode(std::uint8_t code) {
    return __uint_as_float(((code & 0x7fU) << 20) | ((code & 0x80U) << 24)) * 0x1p120F;
}

/// A float at an address that need not be aligned to one.
__device__ void store_bytes(float value, std::uint8_t* to) {
    const std::uint32_t bits = __float_as_uint(value);
    for (int byte = 0; byte < 4; ++byte) to[byte] = static_cast<std::uint8_t>(bits >> (8 * byte));
}
__device__ float load_bytes(const std::uint8_t* from) {
    std::uint32_t bits = 0;
    for (int byte = 0; byte < 4; ++byte) bits |= static_cast<std::uint32_t>(from[byte]) << (8 * byte);
    return __uint_as_float(bits);
}

/// A row of blocks goes to a team for each block.
template <class T>
void quantize(cuda::Matrix<const T> x, cuda::Matrix<std::uint8_t> out, const Context& context) {
    const index_t num_blocks = ceil_div(x.cols, kQuantizedBlock);
    cuda::for_rows(
        context, x.rows * num_blocks, kQuantizedBlock, [=] __device__(index_t task, const cuda::Team& team) {
            const index_t t = task / num_blocks;
            const index_t block = task % num_blocks;
            const index_t begin = block * kQuantizedBlock;
            const index_t end = begin + kQuantizedBlock < x.cols ? begin + kQuantizedBlock : x.cols;
            std::uint32_t own = 0;
            for (index_t i = begin + team.thread; i < end; i += team.size) {
                const std::uint32_t bits = __float_as_uint(static_cast<float>(x(t, i))) & 0x7fffffffU;
                own = bits > own ? bits : own;
            }
            const std::uint32_t largest = team.largest(own);
            const float wanted = __uint_as_float(largest) / kLargest;
            float scale = kSmallestScale > wanted ? kSmallestScale : wanted;
            if (largest >= 0x7f800000U) scale = __uint_as_float(0x7fc00000U);
            std::uint8_t* const row = out.row(t);
            for (index_t i = begin + team.thread; i < end; i += team.size)
                row[i] = encode(static_cast<float>(x(t, i)) / scale);
            if (team.thread != 0) return;
            store_bytes(scale, row + scales_begin(x.cols) + 4 * block);
            // What pads the codes is sent too.
            if (end == x.cols) {
                for (index_t i = x.cols; i < scales_begin(x.cols); ++i) row[i] = 0;
            }
        });
}

template <class T>
void dequantize(cuda::Matrix<const std::uint8_t> x, const std::int32_t* rows, cuda::Matrix<T> out,
                const Context& context) {
    cuda::for_matrix(context, out.rows, out.cols, [=] __device__(index_t i, index_t h) {
        const std::uint8_t* const from = x.row(rows[i]);
        const float scale = load_bytes(from + scales_begin(out.cols) + 4 * (h / kQuantizedBlock));
        out(i, h) = static_cast<T>(decode(from[h]) * scale);
    });
}

}  // namespace

void on_cuda::quantize_rows(ConstTensorRef x, TensorRef out, const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class T>() {
        quantize<T>(cuda::view<const T>(x), cuda::view<std::uint8_t>(out), context);
    });
}

void on_cuda::dequantize_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                              const Context& context) {
    const cuda::HostList<std::int32_t> list(row, context);
    dispatch_dtype(out.dtype(), [&]<class T>() {
        dequantize<T>(cuda::view<const std::uint8_t>(x), list.data(), cuda::view<T>(out), context);
    });
}

}  // namespace sy::ops
