// A task is a block of query rows of one head of one sequence. It multiplies them with all keys before them, so a
// block's scores [kQueryBlock, S] are all that is ever stored.
#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::ops {
namespace {

/// Row i of the scores keeps its first `first_row + i + 1` keys as unnormalised probabilities, and 0 beyond.
SY_MULTIVERSION void exponentiate_causal(MatrixView<float> scores, index_t first_row, float scale,
                                         detail::RowSoftmax* softmax) {
    for (index_t i = 0; i < scores.rows; ++i) {
        float* const row = scores.data + i * scores.stride;
        softmax[i] = detail::exponentiate_row(row, first_row + i + 1, scale);
        for (index_t j = first_row + i + 1; j < scores.cols; ++j) row[j] = 0.0F;
    }
}

/// out rows divided by their sums of probabilities: D elements a row instead of up to S.
SY_MULTIVERSION void normalise(MatrixView<float> out, const detail::RowSoftmax* softmax) {
    for (index_t i = 0; i < out.rows; ++i) {
        float* const row = out.data + i * out.stride;
        const float inverse = 1.0F / softmax[i].sum;
        for (index_t d = 0; d < out.cols; ++d) row[d] *= inverse;
    }
}

/// In double: float logarithms of different C libraries differ in the last bit.
float log_sum_exp(const detail::RowSoftmax& softmax) {
    return static_cast<float>(static_cast<double>(softmax.largest) +
                              std::log(static_cast<double>(softmax.sum)));
}

}  // namespace

void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out, MatrixView<float> lse,
               const Context& context) {
    detail::check_operands(shape, q, k, v);
    SY_REQUIRE(out.rows == q.rows && out.cols == q.cols && lse.rows == q.rows && lse.cols == shape.heads,
               "attention: q [", q.rows, ", ", q.cols, "], out [", out.rows, ", ", out.cols, "], lse [",
               lse.rows, ", ", lse.cols, "]");
    if (q.rows == 0) return;
    const Timed timed(context, OpKind::softmax, 4.0 * detail::num_causal_scores(shape));
    const detail::TransposedHeads keys(shape, k, context);
    const index_t pitch = detail::pitch_of(shape.seq_len);
    Tensor scratch(context.arena, DType::f32, {context.team.size(), detail::kQueryBlock, pitch});
    float* const blocks = scratch.values<float>().data();
    const index_t num_blocks = ceil_div(shape.seq_len, detail::kQueryBlock);
    const index_t num_tasks = shape.num_sequences * shape.heads * num_blocks;
    context.team.for_tasks(num_tasks, [&](index_t task, int thread_idx) {
        const index_t sequence = task / num_blocks / shape.heads;
        const index_t head = task / num_blocks % shape.heads;
        const index_t kv_head = head / (shape.heads / shape.kv_heads);
        // The longest block first.
        const index_t first = (num_blocks - 1 - task % num_blocks) * detail::kQueryBlock;
        const Range rows{first, std::min(first + detail::kQueryBlock, shape.seq_len)};
        const MatrixView<float> scores(blocks + thread_idx * detail::kQueryBlock * pitch, rows.size(),
                                       rows.end, pitch);
        multiply_on_this_thread<float>(
            {detail::head_of(q, shape, sequence, head).rows_of(rows), Transpose::no,
             keys.first_keys(sequence, kv_head, rows.end), Transpose::no, scores, 0.0F},
            context.numerics, context);
        detail::RowSoftmax softmax[detail::kQueryBlock];
        exponentiate_causal(scores, first, shape.scale, softmax);
        const MatrixView<float> target = detail::head_of(out, shape, sequence, head).rows_of(rows);
        multiply_on_this_thread<float>(
            {scores, Transpose::no, detail::head_of(v, shape, sequence, kv_head).rows_of({0, rows.end}),
             Transpose::no, target, 0.0F},
            context.numerics, context);
        normalise(target, softmax);
        for (index_t i = 0; i < rows.size(); ++i)
            lse(sequence * shape.seq_len + first + i, head) = log_sum_exp(softmax[i]);
    });
}

}  // namespace sy::ops
