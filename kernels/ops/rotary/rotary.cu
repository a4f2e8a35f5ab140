#include "kernels/ops/rotary/rotary.hpp"

#include <algorithm>

#include "kernels/core/host_view.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/launch.hpp"

namespace sy::ops {
namespace {

/// The first rows of a table that the host holds.
std::span<const float> first_rows(ConstTensorRef table, index_t rows) {
    return host_values<const float>(table.rows_of({0, rows}));
}

}  // namespace

void on_cuda::rotary(TensorRef in_place, RotaryHeads heads, std::span<const std::int32_t> positions,
                     const RotaryTable& table, Direction direction, const Context& context) {
    if (positions.empty()) return;
    const index_t num_positions = std::ranges::max(positions) + index_t{1};
    const cuda::HostList<float> cosines(first_rows(table.cosines(), num_positions), context);
    const cuda::HostList<float> sines(first_rows(table.sines(), num_positions), context);
    const cuda::HostList<std::int32_t> list(positions, context);
    const float* const cosine = cosines.data();
    const float* const sine = sines.data();
    const std::int32_t* const position = list.data();
    const auto x = cuda::view<float>(in_place);
    const index_t half = table.rotary_dim() / 2;
    const index_t head_dim = heads.head_dim;
    const index_t first_dim = heads.first_dim;
    const bool interleaved = table.pairs() == RotaryPairs::interleaved;
    const float sign = direction == Direction::forward ? 1.0F : -1.0F;
    cuda::for_matrix(context, x.rows, x.cols / head_dim * half, [=] __device__(index_t t, index_t pair) {
        const index_t i = pair % half;
        float* const head = x.row(t) + pair / half * head_dim + first_dim;
        float& first = head[interleaved ? 2 * i : i];
        float& second = head[interleaved ? 2 * i + 1 : half + i];
        const float a = first;
        const float b = second;
        const float c = cosine[position[t] * half + i];
        const float s = sine[position[t] * half + i] * sign;
        first = a * c - b * s;
        second = b * c + a * s;
    });
}

}  // namespace sy::ops
