#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/list.hpp"
#include "kernels/core/write.hpp"

/// Moving and adding rows by index lists. H columns.
namespace sy::ops {

/// out[i] = x[row[i]].
/// @param x    [*, H] f32, bf16 or u8
/// @param out  [I, H] of the same dtype, or f32 where x is bf16
/// @throws ShapeError naming the first row that x does not have, or when sides or dtypes do not fit
void gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out, const Context& context);

/// out[place[i]] = x[i]; other rows stay.
/// @param x      [I, H] f32, bf16 or u8
/// @param place  [I] each place once
/// @param out    [*, H] of the same dtype
/// @throws ShapeError naming the first place of the host that out does not have, or when sides or dtypes do not fit
void scatter_rows(ConstTensorRef x, List<index_t> place, TensorRef out, const Context& context);

/// out[r] = (or +=) the sum of x[i] for i in sources[offsets[r] .. offsets[r+1]), added in that order; rows
/// without a source become 0 (or stay). A sum per row, so no atomics and any number of threads.
/// @param x        [*, H] f32 or bf16; sums are f32
/// @param offsets  [R + 1] ascending places in `sources`; not all of these need be used
/// @param out      [R, H] f32, or bf16 where x is, which is not added to: each sum is rounded once
/// @throws ShapeError naming the first source that x does not have, or when sides do not fit
void sum_rows(ConstTensorRef x, std::span<const index_t> offsets, std::span<const std::int32_t> sources,
              Write write, TensorRef out, const Context& context);

namespace ref {
void sum_rows(MatrixView<const float> x, std::span<const index_t> offsets,
              std::span<const std::int32_t> sources, Write write, MatrixView<float> out);
}  // namespace ref

}  // namespace sy::ops
