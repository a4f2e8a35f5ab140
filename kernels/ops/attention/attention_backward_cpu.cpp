// A task is one key/value head of one sequence: it alone sums that head's dk and dv, over the query heads that share
// it in ascending order and within a head over query blocks from the last to the first.
#include <algorithm>
#include <utility>

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

/// The operands of a call that its tasks read and write.
struct Operands {
    MatrixView<const float> q;
    MatrixView<const float> k;
    MatrixView<const float> out;
    MatrixView<const float> lse;
    MatrixView<const float> dout;
    MatrixView<float> dq;
    MatrixView<float> dk;
    MatrixView<float> dv;
};

/// What a call prepares once for all tasks, and how a thread's scratch is cut: two score blocks, a row of the mask,
/// sums by distance.
struct Backward {
    const AttentionShape& shape;
    Operands operands;
    const detail::TransposedHeads& keys;
    const detail::TransposedHeads& values;
    const detail::RelativeBias& bias;
    const detail::DropoutMask& mask;
    index_t pitch;          ///< of a score block
    index_t mask_elements;  ///< of a row of the mask
    index_t num_distances;  ///< whose gradients are summed; 0 when nobody wants them
    float* dtables;         ///< [num_sequences, buckets * heads] sums of each sequence

    index_t block_elements() const { return detail::kQueryBlock * pitch; }
    index_t scratch_elements() const { return 2 * block_elements() + mask_elements + num_distances; }
    float* factors(float* scratch) const { return scratch + 2 * block_elements(); }
    std::span<float> distance_sums(float* scratch) const {
        return {factors(scratch) + mask_elements, static_cast<std::size_t>(num_distances)};
    }
};

/// One block of query rows of one head: scores against, and gradients of probabilities for, the keys its rows see.
struct Block {
    index_t sequence;
    Range rows;         ///< of the sequence
    Range keys;         ///< of the sequence
    index_t first_row;  ///< of the call
    index_t head;
    MatrixView<float> scores;
    MatrixView<float> dscores;
    MatrixView<const float> out;
    MatrixView<const float> dout;
    MatrixView<const float> lse;  ///< one column
    float* factors;               ///< scratch of a row of the mask
    float* distance_sums;         ///< of distance 0, the others around it; null when nobody wants them
};

/// One row of a block, from the first key it sees.
struct Row {
    float* scores;
    float* dscores;
    index_t count;
    float lse;
    float mean;            ///< dout . out
    const float* factors;  ///< of its dropout; null: none
    const float* bias;     ///< of its first key, and below where its gradient is summed; null: none
    float* dbias;
};

/// scores -> probabilities p; dp -> p (dp - dout . out) scale.
SY_INLINE void differentiate_plain(const Row& row, float scale) {
    simd::for_lanes(row.count, [&](index_t j, auto load, auto store) SY_BODY {
        const simd::f32x16 p =
            simd::exp(simd::fma(load(row.scores + j), simd::splat(scale), simd::splat(-row.lse)));
        store(row.dscores + j, p * ((load(row.dscores + j) - row.mean) * scale));
        store(row.scores + j, p);
    });
}

/// The same with cap, bias and dropout: probabilities are those after dropout, dp counts where they are kept, and the
/// gradient reaches the product through the cap.
SY_INLINE void differentiate_general(const Row& row, float scale, float soft_cap) {
    const float inward = soft_cap == 0.0F ? scale : scale / soft_cap;
    simd::for_lanes(row.count, [&](index_t j, auto load, auto store) SY_BODY {
        simd::f32x16 score = load(row.scores + j) * inward;
        simd::f32x16 slope = simd::splat(scale);
        if (soft_cap != 0.0F) {
            const simd::f32x16 capped = simd::tanh(score);
            score = capped * soft_cap;
            slope = simd::fma(-capped, capped, simd::splat(1.0F)) * scale;
        }
        if (row.bias != nullptr) score += load(row.bias + j);
        const simd::f32x16 factor = row.factors == nullptr ? simd::splat(1.0F) : load(row.factors + j);
        const simd::f32x16 p = simd::exp(score - row.lse);
        const simd::f32x16 dscore = p * (load(row.dscores + j) * factor - row.mean);
        if (row.dbias != nullptr) store(row.dbias + j, load(row.dbias + j) + dscore);
        store(row.dscores + j, dscore * slope);
        store(row.scores + j, p * factor);
    });
}

/// Both 0 for keys that a row does not see.
void differentiate_softmax(const Backward& call, const Block& block) {
    simd::for_isa([=, &call, &block]() SY_BODY {
        const AttentionShape& shape = call.shape;
        const float* const bias = call.bias.of_head(block.head);
        const bool plain = shape.soft_cap == 0.0F && bias == nullptr && call.mask.is_empty();
        for (index_t i = 0; i < block.scores.rows; ++i) {
            float* const scores = block.scores.data + i * block.scores.stride;
            float* const dscores = block.dscores.data + i * block.dscores.stride;
            const index_t query = block.rows.begin + i;
            const Range seen = detail::keys_of_row(shape, block.sequence, query);
            const index_t first = seen.begin - block.keys.begin;
            const index_t distance = seen.begin - query;
            Row row{scores + first,
                    dscores + first,
                    seen.size(),
                    block.lse.data[i * block.lse.stride],
                    detail::dot(block.dout.data + i * block.dout.stride,
                                block.out.data + i * block.out.stride, block.out.cols),
                    nullptr,
                    nullptr,
                    nullptr};
            for (index_t j = 0; j < first; ++j) scores[j] = dscores[j] = 0.0F;
            for (index_t j = first + seen.size(); j < block.scores.cols; ++j) scores[j] = dscores[j] = 0.0F;
            if (plain) {
                differentiate_plain(row, shape.scale);
                continue;
            }
            if (bias != nullptr) row.bias = bias + distance;
            if (block.distance_sums != nullptr) row.dbias = block.distance_sums + distance;
            if (!call.mask.is_empty())
                row.factors = call.mask.factors_of(block.first_row + i, block.head, seen, block.factors);
            differentiate_general(row, shape.scale, shape.soft_cap);
        }
    });
}

/// One query head of a key/value head of a sequence.
struct Task {
    index_t sequence;
    index_t kv_head;
    index_t head;
    float* scratch;
};

/// dq of a block of query rows; dk and dv plus its part, or overwritten by it.
void backward_block(const Backward& call, const Task& task, Range rows, Write write, const Context& context) {
    const AttentionShape& shape = call.shape;
    const Operands& op = call.operands;
    const auto of_rows = [&](auto x, const detail::HeadLayout& layout) {
        return layout.part(x, task.sequence, task.head).rows_of(rows);
    };
    const detail::HeadLayout q_layout = detail::layout_of_q(shape);
    const detail::HeadLayout k_layout = detail::layout_of_k(shape);
    const Range keys = detail::keys_of_block(shape, task.sequence, rows);
    const index_t first_row = task.sequence * shape.seq_len + rows.begin;
    const std::span<float> sums = call.distance_sums(task.scratch);
    const Block block{
        task.sequence,
        rows,
        keys,
        first_row,
        task.head,
        {task.scratch, rows.size(), keys.size(), call.pitch},
        {task.scratch + call.block_elements(), rows.size(), keys.size(), call.pitch},
        of_rows(op.out, detail::layout_of_out(shape)),
        of_rows(op.dout, detail::layout_of_out(shape)),
        op.lse.rows_of({first_row, first_row + rows.size()}).cols_of({task.head, task.head + 1}),
        call.factors(task.scratch),
        sums.empty() ? nullptr : sums.data() - call.bias.distances().begin};
    const auto multiply = [&](MatrixView<const float> a, Transpose transpose_a, MatrixView<const float> b,
                              MatrixView<float> c, Write onto) {
        multiply_on_this_thread<float>({a, transpose_a, b, Transpose::no, c, onto}, context);
    };
    const MatrixView<const float> q = of_rows(op.q, q_layout);
    multiply(q, Transpose::no, call.keys.keys_of(task.sequence, task.kv_head, keys), block.scores,
             Write::overwrite);
    multiply(block.dout, Transpose::no, call.values.keys_of(task.sequence, task.kv_head, keys), block.dscores,
             Write::overwrite);
    differentiate_softmax(call, block);
    multiply(block.dscores, Transpose::no, k_layout.part(op.k, task.sequence, task.kv_head).rows_of(keys),
             of_rows(op.dq, q_layout), Write::overwrite);
    multiply(block.scores, Transpose::yes, block.dout,
             detail::layout_of_v(shape).part(op.dv, task.sequence, task.kv_head).rows_of(keys), write);
    multiply(block.dscores, Transpose::yes, q,
             k_layout.part(op.dk, task.sequence, task.kv_head).rows_of(keys), write);
}

/// Sums of dk and dv of a key/value head over its query heads, and the bias gradients of these.
void backward_task(const Backward& call, index_t sequence, index_t kv_head, float* scratch,
                   const Context& context) {
    const AttentionShape& shape = call.shape;
    const index_t group = shape.heads / shape.kv_heads;
    const index_t last_block = ceil_div(shape.seq_len, detail::kQueryBlock) - 1;
    // The last block, computed first, overwrites what it sees of dk and dv: not all of them where there
    // is a window, or another document before it.
    const index_t first_seen =
        detail::keys_of_block(shape, sequence, detail::rows_of_block(shape, last_block)).begin;
    for (const MatrixView<float> target :
         {detail::layout_of_k(shape).part(call.operands.dk, sequence, kv_head),
          detail::layout_of_v(shape).part(call.operands.dv, sequence, kv_head)}) {
        for (index_t j = 0; j < first_seen; ++j) std::fill_n(target.row(j), target.cols, 0.0F);
    }
    Write write = Write::overwrite;
    const std::span<float> sums = call.distance_sums(scratch);
    for (index_t member = 0; member < group; ++member) {
        const Task task{sequence, kv_head, kv_head * group + member, scratch};
        std::fill(sums.begin(), sums.end(), 0.0F);
        for (index_t block = last_block; block >= 0; --block) {
            backward_block(call, task, detail::rows_of_block(shape, block), write, context);
            write = Write::add;
        }
        if (sums.empty()) continue;
        const index_t buckets = shape.bias.table.rows();
        call.bias.add_to_table(sums, task.head,
                               {call.dtables + sequence * buckets * shape.heads, buckets, shape.heads});
    }
}

}  // namespace

void on_cpu::attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                                const Context& context) {
    const auto k = host<const float>(operands.k);
    const detail::TransposedHeads keys(shape, detail::layout_of_k(shape), k, context);
    const detail::TransposedHeads values(shape, detail::layout_of_v(shape), host<const float>(operands.v),
                                         context);
    const Range distances = detail::visible_distances(shape);
    const detail::RelativeBias bias(shape, distances, context);
    const detail::DropoutMask mask(shape);
    const index_t widest = detail::widest_block(shape);
    const bool learns = !operands.dtable.is_null();
    Tensor dtables(context.device, DType::f32,
                   {learns ? shape.num_sequences : 0, shape.bias.table.rows() * shape.heads});
    dtables.fill_zero();
    const Backward call{shape,
                        {host<const float>(operands.q), k, host<const float>(operands.out),
                         host<const float>(operands.lse), host<const float>(operands.dout),
                         host<float>(operands.dq), host<float>(operands.dk), host<float>(operands.dv)},
                        keys,
                        values,
                        bias,
                        mask,
                        detail::pitch_of(widest),
                        mask.row_elements(widest),
                        learns ? distances.size() : 0,
                        dtables.values<float>().data()};
    Tensor scratch(context.device, DType::f32, {context.device.num_threads(), call.scratch_elements()});
    const MatrixView<float> scratches = scratch.matrix<float>();
    cpu(context).team().for_tasks(shape.num_sequences * shape.kv_heads, [&](index_t task, int thread_idx) {
        backward_task(call, task / shape.kv_heads, task % shape.kv_heads, scratches.row(thread_idx), context);
    });
    for (index_t sequence = 0; learns && sequence < shape.num_sequences; ++sequence)
        accumulate(std::as_const(dtables).matrix<float>().row_span(sequence), 0,
                   host_gradient(operands.dtable));
}

}  // namespace sy::ops
