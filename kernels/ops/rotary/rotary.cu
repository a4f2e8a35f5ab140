#include "kernels/ops/rotary/rotary.hpp"

#include "kernels/core/host_view.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/launch.hpp"

namespace sy::ops {
namespace {

/// The table in the memory of the GPU: its own copy there, or one for a single call.
class TableInMemory {
  public:
    TableInMemory(const RotaryTable& table, const Context& context)
        : cosines_(host_rows(table, table.cosines()), context),
          sines_(host_rows(table, table.sines()), context) {
        if (table.on_device().is_null()) return;
        kept_ = cuda::values<const float>(table.on_device());
        size_ = table.num_positions() * table.rotary_dim() / 2;
    }
    const float* cosines() const { return kept_ == nullptr ? cosines_.data() : kept_; }
    const float* sines() const { return kept_ == nullptr ? sines_.data() : kept_ + size_; }

  private:
    static std::span<const float> host_rows(const RotaryTable& table, ConstTensorRef rows) {
        if (!table.on_device().is_null()) return {};
        return host_values<const float>(rows);
    }

    cuda::HostList<float> cosines_;
    cuda::HostList<float> sines_;
    const float* kept_ = nullptr;
    index_t size_ = 0;
};

}  // namespace

void on_cuda::rotary(TensorRef in_place, RotaryHeads heads, List<std::int32_t> positions,
                     const RotaryTable& table, Direction direction, const Context& context) {
    if (positions.empty()) return;
    const TableInMemory in_memory(table, context);
    const cuda::HostList<std::int32_t> list(positions, context);
    const float* const cosine = in_memory.cosines();
    const float* const sine = in_memory.sines();
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
