#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Rows in eight bits a value, for the wire: fp8 e4m3 (one sign bit, four of the exponent, three of the mantissa, no
/// infinity, largest value 448) with a scale for every 128 values of a row. H columns.
/// @par Source  Micikevicius et al., "FP8 formats for deep learning", arXiv:2209.05433; blocks of 128 as in DeepSeek-V3,
///              arXiv:2412.19437, section 3.3.2
namespace sy::ops {

inline constexpr index_t kQuantizedBlock = 128;

/// Bytes of a row: a code for each of H values, padded to a multiple of 4, then an f32 scale for each block.
constexpr index_t quantized_row_bytes(index_t cols) {
    return (cols + 3) / 4 * 4 +
           (cols + kQuantizedBlock - 1) / kQuantizedBlock * static_cast<index_t>(sizeof(float));
}

/// out[t] = x[t] in blocks: scale = max |x| / 448 of the block, code = x / scale rounded to nearest even. A decoded value
/// is off by at most 1/16 of itself, or by scale / 1024 if that is more. Zeros keep their sign. A block with an infinity
/// or NaN becomes NaN altogether, so that what diverges shows.
/// @param x    [T, H] f32 or bf16
/// @param out  [T, quantized_row_bytes(H)] u8
/// @throws ShapeError when sides or dtypes do not fit
void quantize_rows(ConstTensorRef x, TensorRef out, const Context& context);

/// out[i] = x[row[i]], decoded.
/// @param x    [*, quantized_row_bytes(H)] u8, of quantize_rows
/// @param out  [I, H] f32 or bf16 (rounded to nearest even)
/// @throws ShapeError naming the first row that x does not have, or when sides or dtypes do not fit
void dequantize_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                     const Context& context);

namespace ref {
/// By a search among all codes.
void quantize_rows(MatrixView<const float> x, MatrixView<std::uint8_t> out);
void dequantize_rows(MatrixView<const std::uint8_t> x, std::span<const std::int32_t> row,
                     MatrixView<float> out);
}  // namespace ref

}  // namespace sy::ops
