#pragma once

#include <vector>

#include "kernels/core/offsets.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/product_group.cuh"
#include "kernels/ops/permute/permute.hpp"

/// Products of the slots of all experts, each with the matrix of its own. S slots, L experts.
namespace sy::ops::on_gpu {

/// The input row of each slot: rows of x themselves where slot s is row s, else gathered.
class SlotRows {
  public:
    SlotRows(ConstTensorRef x, const ExpertSlots& slots, const Context& context) : rows_(x) {
        if (slots.row.empty()) return;
        memory_ = Tensor(context.device, x.dtype(), {slots.num_slots(), x.cols()});
        ops::gather_rows(x, slots.row, memory_, context);
        rows_ = memory_;
    }
    /// [S, H]
    ConstTensorRef ref() const { return rows_; }

  private:
    Tensor memory_;
    ConstTensorRef rows_;
};

/// Queues c[s] = (or +=) a[s] op(weight of the expert of slot s): a group with a product an expert.
/// @param a       [S, K]
/// @param weight  [L * K, N], or [L * N, K] when transposed
/// @param c       [S, N] f32
inline void multiply_experts(const ExpertSlots& slots, ConstTensorRef a, ConstTensorRef weight,
                             Transpose transpose, TensorRef c, Write write, const Context& context) {
    const index_t weight_rows = weight.rows() / slots.num_experts();
    std::vector<Product> products;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        const Range range = group_of(slots.offsets, expert);
        if (range.size() == 0) continue;
        products.push_back({.a = a.rows_of(range),
                            .b = weight.rows_of({expert * weight_rows, (expert + 1) * weight_rows}),
                            .transpose_b = transpose,
                            .c = c.rows_of(range),
                            .write = write});
    }
    multiply_group(products, context);
}

}  // namespace sy::ops::on_gpu
