#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"

/// Moving and adding rows by index lists. H columns.
namespace sy::ops {

/// out[i] = x[row[i]]. T in {float, bf16}; x [*, H], out [I, H].
/// @throws ShapeError naming the first row that x does not have
template <class T>
void gather_rows(MatrixView<const T> x, std::span<const std::int32_t> row, MatrixView<T> out,
                 const Context& context);

/// out[r] = (or +=) the sum of x[i] for i in sources[offsets[r] .. offsets[r+1]), added in that order; rows
/// without a source become 0 (or stay). A sum per row, so no atomics and any number of threads.
/// @param offsets  [R + 1] ascending places in `sources`; not all of these need be used
/// @throws ShapeError naming the first source that x does not have
void sum_rows(MatrixView<const float> x, std::span<const index_t> offsets,
              std::span<const std::int32_t> sources, Write write, MatrixView<float> out,
              const Context& context);

namespace ref {
void sum_rows(MatrixView<const float> x, std::span<const index_t> offsets,
              std::span<const std::int32_t> sources, Write write, MatrixView<float> out);
}  // namespace ref

}  // namespace sy::ops
