// A task is one key/value head of one sequence: it alone sums that head's dk and dv, over the query heads that share
// it in ascending order and within a head over query blocks from the last to the first.
#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::ops {
namespace {

/// One block of query rows of one head: scores against, and gradients of probabilities for, the keys before its end.
struct Block {
    index_t first_row;
    MatrixView<float> scores;
    MatrixView<float> dscores;
    MatrixView<const float> out;
    MatrixView<const float> dout;
    MatrixView<const float> lse;  ///< one column
};

/// scores -> probabilities p; dp -> p (dp - dout . out) scale; both 0 beyond the diagonal.
SY_MULTIVERSION void differentiate_softmax(const Block& block, float scale) {
    for (index_t i = 0; i < block.scores.rows; ++i) {
        float* const scores = block.scores.data + i * block.scores.stride;
        float* const dscores = block.dscores.data + i * block.dscores.stride;
        const float lse = block.lse.data[i * block.lse.stride];
        const float mean = detail::dot(block.dout.data + i * block.dout.stride,
                                       block.out.data + i * block.out.stride, block.out.cols);
        const index_t count = block.first_row + i + 1;
        simd::for_lanes(
            count, [&](index_t j, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 p =
                    simd::exp(simd::fma(load(scores + j), simd::splat(scale), simd::splat(-lse)));
                store(dscores + j, p * ((load(dscores + j) - mean) * scale));
                store(scores + j, p);
            });
        for (index_t j = count; j < block.scores.cols; ++j) scores[j] = dscores[j] = 0.0F;
    }
}

/// What a task works on: one key/value head of one sequence.
struct Task {
    const AttentionShape& shape;
    const AttentionBackward& operands;
    const detail::TransposedHeads& keys;
    const detail::TransposedHeads& values;
    index_t sequence;
    index_t kv_head;
    float* scratch;  ///< two score blocks

    template <class T>
    MatrixView<T> head_of(MatrixView<T> x, index_t head) const {
        return detail::head_of(x, shape, sequence, head);
    }
};

/// dq of a block of query rows; dk and dv plus its part, or (`beta` 0) overwritten by it.
void backward_block(const Task& task, index_t head, Range rows, float beta, const Context& context) {
    const AttentionShape& shape = task.shape;
    const AttentionBackward& op = task.operands;
    const index_t pitch = detail::pitch_of(shape.seq_len);
    const MatrixView<const float> q = task.head_of(op.q, head).rows_of(rows);
    const MatrixView<const float> k = task.head_of(op.k, task.kv_head).rows_of({0, rows.end});
    const Block block{
        rows.begin,
        {task.scratch, rows.size(), rows.end, pitch},
        {task.scratch + detail::kQueryBlock * pitch, rows.size(), rows.end, pitch},
        task.head_of(op.out, head).rows_of(rows),
        task.head_of(op.dout, head).rows_of(rows),
        op.lse.rows_of({task.sequence * shape.seq_len + rows.begin, task.sequence * shape.seq_len + rows.end})
            .cols_of({head, head + 1})};
    const auto multiply = [&](MatrixView<const float> a, Transpose transpose_a, MatrixView<const float> b,
                              MatrixView<float> c, float onto) {
        multiply_on_this_thread<float>({a, transpose_a, b, Transpose::no, c, onto}, context.numerics,
                                       context);
    };
    multiply(q, Transpose::no, task.keys.first_keys(task.sequence, task.kv_head, rows.end), block.scores,
             0.0F);
    multiply(block.dout, Transpose::no, task.values.first_keys(task.sequence, task.kv_head, rows.end),
             block.dscores, 0.0F);
    differentiate_softmax(block, shape.scale);
    multiply(block.dscores, Transpose::no, k, task.head_of(op.dq, head).rows_of(rows), 0.0F);
    multiply(block.scores, Transpose::yes, block.dout,
             task.head_of(op.dv, task.kv_head).rows_of({0, rows.end}), beta);
    multiply(block.dscores, Transpose::yes, q, task.head_of(op.dk, task.kv_head).rows_of({0, rows.end}),
             beta);
}

void check_gradients(const AttentionShape& shape, const AttentionBackward& op) {
    const auto same = [](const auto& a, const auto& b) { return a.rows == b.rows && a.cols == b.cols; };
    SY_REQUIRE(same(op.out, op.q) && same(op.dout, op.q) && same(op.dq, op.q) && same(op.dk, op.k) &&
                   same(op.dv, op.v) && op.lse.rows == op.q.rows && op.lse.cols == shape.heads,
               "attention_backward: q [", op.q.rows, ", ", op.q.cols, "], out [", op.out.rows, ", ",
               op.out.cols, "], dout [", op.dout.rows, ", ", op.dout.cols, "], dq [", op.dq.rows, ", ",
               op.dq.cols, "], k [", op.k.rows, ", ", op.k.cols, "], dk [", op.dk.rows, ", ", op.dk.cols,
               "], dv [", op.dv.rows, ", ", op.dv.cols, "], lse [", op.lse.rows, ", ", op.lse.cols, "]");
}

}  // namespace

void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context) {
    detail::check_operands(shape, operands.q, operands.k, operands.v);
    check_gradients(shape, operands);
    if (operands.q.rows == 0) return;
    const Timed timed(context, OpKind::softmax, 6.0 * detail::num_causal_scores(shape));
    const detail::TransposedHeads keys(shape, operands.k, context);
    const detail::TransposedHeads values(shape, operands.v, context);
    const index_t block_elements = 2 * detail::kQueryBlock * detail::pitch_of(shape.seq_len);
    Tensor scratch(context.arena, DType::f32, {context.team.size(), block_elements});
    float* const blocks = scratch.values<float>().data();
    const index_t group = shape.heads / shape.kv_heads;
    const index_t num_blocks = ceil_div(shape.seq_len, detail::kQueryBlock);
    context.team.for_tasks(shape.num_sequences * shape.kv_heads, [&](index_t task_idx, int thread_idx) {
        const Task task{shape,
                        operands,
                        keys,
                        values,
                        task_idx / shape.kv_heads,
                        task_idx % shape.kv_heads,
                        blocks + thread_idx * block_elements};
        for (index_t member = 0; member < group; ++member) {
            for (index_t block = num_blocks - 1; block >= 0; --block) {
                const index_t first = block * detail::kQueryBlock;
                // The last block sees all keys: the first one computed overwrites all of dk and dv.
                const float beta = member == 0 && block == num_blocks - 1 ? 0.0F : 1.0F;
                backward_block(task, task.kv_head * group + member,
                               {first, std::min(first + detail::kQueryBlock, shape.seq_len)}, beta, context);
            }
        }
    });
}

}  // namespace sy::ops
