// A task is a block of query rows of one head of one sequence. It multiplies them with all keys that one of them sees,
// so a block's scores [kQueryBlock, keys] are all that is ever stored.
#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/mask.hpp"
#include "kernels/ops/attention/relative_bias.hpp"
#include "kernels/ops/attention/scores.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Operands of a call, and what it prepares once for all tasks.
struct Forward {
    const AttentionShape& shape;
    MatrixView<const float> q;
    MatrixView<const float> v;
    MatrixView<float> out;
    MatrixView<float> lse;
    const detail::TransposedHeads& keys;
    const detail::RelativeBias& bias;
    const detail::DropoutMask& mask;
    index_t pitch;  ///< of a thread's score block
};

/// One block of query rows of one head.
struct Block {
    index_t sequence;
    index_t head;
    Range rows;                ///< of the sequence
    Range keys;                ///< of the sequence
    MatrixView<float> scores;  ///< [rows, keys]
    float* factors;            ///< scratch of a row of the mask
};

/// Products become unnormalised probabilities, 0 for what a row does not see.
void exponentiate_block(const Forward& call, const Block& block, detail::RowSoftmax* softmax) {
    simd::for_isa([=, &call, &block]() SY_BODY {
        const detail::ScoreRule rule{call.shape.scale, call.shape.soft_cap, call.bias.of_head(block.head)};
        for (index_t i = 0; i < block.scores.rows; ++i) {
            float* const row = block.scores.data + i * block.scores.stride;
            const index_t query = block.rows.begin + i;
            const Range seen = detail::keys_of_row(call.shape, block.sequence, query);
            const index_t first = seen.begin - block.keys.begin;
            for (index_t j = 0; j < first; ++j) row[j] = 0.0F;
            const float scale = detail::finish_scores(row + first, seen.size(), rule, seen.begin - query);
            softmax[i] = detail::exponentiate_row(row + first, seen.size(), scale);
            for (index_t j = first + seen.size(); j < block.scores.cols; ++j) row[j] = 0.0F;
            if (call.mask.is_empty()) continue;
            const float* const factors = call.mask.factors_of(block.sequence * call.shape.seq_len + query,
                                                              block.head, seen, block.factors);
            for (index_t j = 0; j < seen.size(); ++j) row[first + j] *= factors[j];
        }
    });
}

/// out rows divided by their sums of probabilities: Dv elements a row instead of up to Sk.
void normalise(MatrixView<float> out, const detail::RowSoftmax* softmax) {
    simd::for_isa([=]() SY_BODY {
        for (index_t i = 0; i < out.rows; ++i) {
            float* const row = out.data + i * out.stride;
            const float inverse = 1.0F / softmax[i].sum;
            for (index_t d = 0; d < out.cols; ++d) row[d] *= inverse;
        }
    });
}

/// In double: float logarithms of different C libraries differ in the last bit.
float log_sum_exp(const detail::RowSoftmax& softmax) {
    return static_cast<float>(static_cast<double>(softmax.largest) +
                              std::log(static_cast<double>(softmax.sum)));
}

/// @param memory  a thread's scratch: a score block, then a row of the mask
void forward_block(const Forward& call, index_t sequence, index_t head, Range rows, float* memory,
                   const Context& context) {
    const AttentionShape& shape = call.shape;
    const index_t kv_head = head / (shape.heads / shape.kv_heads);
    const Range seen = detail::keys_of_block(shape, sequence, rows);
    const Block block{sequence,
                      head,
                      rows,
                      seen,
                      {memory, rows.size(), seen.size(), call.pitch},
                      memory + detail::kQueryBlock * call.pitch};
    multiply_on_this_thread<float>(
        {detail::layout_of_q(shape).part(call.q, sequence, head).rows_of(rows), Transpose::no,
         call.keys.keys_of(sequence, kv_head, seen), Transpose::no, block.scores},
        context);
    detail::RowSoftmax softmax[detail::kQueryBlock];
    exponentiate_block(call, block, softmax);
    const MatrixView<float> target =
        detail::layout_of_out(shape).part(call.out, sequence, head).rows_of(rows);
    multiply_on_this_thread<float>(
        {block.scores, Transpose::no,
         detail::layout_of_v(shape).part(call.v, sequence, kv_head).rows_of(seen), Transpose::no, target},
        context);
    normalise(target, softmax);
    for (index_t i = 0; i < rows.size(); ++i)
        call.lse(sequence * shape.seq_len + rows.begin + i, head) = log_sum_exp(softmax[i]);
}

}  // namespace

void on_cpu::attention(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v,
                       TensorRef out, TensorRef lse, const Context& context) {
    const detail::TransposedHeads keys(shape, detail::layout_of_k(shape), host<const float>(k), context);
    const detail::RelativeBias bias(shape, detail::visible_distances(shape), context);
    const detail::DropoutMask mask(shape);
    const index_t widest = detail::widest_block(shape);
    const index_t pitch = detail::pitch_of(widest);
    Tensor scratch(context.device, DType::f32,
                   {context.device.num_threads(), detail::kQueryBlock * pitch + mask.row_elements(widest)});
    const MatrixView<float> scratches = scratch.matrix<float>();
    const Forward call{shape,
                       host<const float>(q),
                       host<const float>(v),
                       host<float>(out),
                       host<float>(lse),
                       keys,
                       bias,
                       mask,
                       pitch};
    const index_t num_blocks = ceil_div(shape.seq_len, detail::kQueryBlock);
    const index_t num_tasks = shape.num_sequences * shape.heads * num_blocks;
    cpu(context).team().for_tasks(num_tasks, [&](index_t task, int thread_idx) {
        // The longest block first.
        const Range rows = detail::rows_of_block(shape, num_blocks - 1 - task % num_blocks);
        forward_block(call, task / num_blocks / shape.heads, task / num_blocks % shape.heads, rows,
                      scratches.row(thread_idx), context);
    });
}

}  // namespace sy::ops
