#include "kernels/ops/attention/attention.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/mask.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_gradients(const AttentionShape& shape, const AttentionBackward& op) {
    SY_FITS(op.out.rows() == op.q.rows() && op.out.cols() == shape.heads * shape.value_width() &&
                same_sides(op.dout, op.out) && same_sides(op.dq, op.q) && same_sides(op.dk, op.k) &&
                same_sides(op.dv, op.v) && op.lse.rows() == op.q.rows() && op.lse.cols() == shape.heads,
            "attention_backward: q [", op.q.rows(), ", ", op.q.cols(), "], out [", op.out.rows(), ", ",
            op.out.cols(), "], dout [", op.dout.rows(), ", ", op.dout.cols(), "], dq [", op.dq.rows(), ", ",
            op.dq.cols(), "], k [", op.k.rows(), ", ", op.k.cols(), "], dk [", op.dk.rows(), ", ",
            op.dk.cols(), "], dv [", op.dv.rows(), ", ", op.dv.cols(), "], lse [", op.lse.rows(), ", ",
            op.lse.cols(), "]");
    const bool wanted = !op.dtable.is_null();
    const ConstTensorRef table = shape.bias.table;
    SY_FITS(!wanted || (op.dtable.rows() == table.rows() && op.dtable.cols() == table.cols()),
            "attention_backward: gradient [", op.dtable.rows(), ", ", op.dtable.cols(), "] of a bias table [",
            table.rows(), ", ", table.cols(), "]");
}

void check_places(std::span<const index_t> caches, std::span<const index_t> lengths, index_t num_caches,
                  index_t capacity) {
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        SY_FITS(lengths[i] >= 1 && lengths[i] <= capacity && caches[i] >= 0 && caches[i] < num_caches,
                "attention_decode: length ", lengths[i], " in cache ", caches[i], " of ", num_caches,
                " caches of ", capacity, " tokens");
    }
}

void check_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                  ConstTensorRef v_cache, const DecodeRows& rows, ConstTensorRef out) {
    detail::check_rules(shape);
    const bool biased = !shape.bias.table.is_null() || !shape.bias.slopes.empty();
    SY_FITS(shape.dropout.probability == 0.0F && (!biased || shape.visibility == Visibility::causal),
            "attention_decode: dropout of ", shape.dropout.probability,
            " (expected none), or a bias by distance from a token that has no place in the memory");
    const index_t width = shape.value_width();
    SY_FITS(
        q.cols() == shape.heads * shape.head_dim && out.rows() == q.rows() &&
            out.cols() == shape.heads * width && k_cache.cols() == shape.kv_heads * shape.head_dim &&
            (v_cache.cols() == shape.kv_heads * width || (shape.kv_heads == 1 && v_cache.cols() > width)) &&
            v_cache.rows() == k_cache.rows() && rows.capacity > 0 && k_cache.rows() % rows.capacity == 0 &&
            rows.length.size() == q.rows() && rows.cache.size() == q.rows() &&
            rows.cache.is_of_host() == rows.length.is_of_host(),
        "attention_decode: ", shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim, " and ",
        width, "; q [", q.rows(), ", ", q.cols(), "], out [", out.rows(), ", ", out.cols(), "], ",
        rows.length.size(), " lengths of ", rows.cache.size(), " caches of ", rows.capacity,
        " tokens, caches [", k_cache.rows(), ", ", k_cache.cols(), "] and [", v_cache.rows(), ", ",
        v_cache.cols(), "]");
    if (rows.length.is_of_host())
        check_places(rows.cache.of_host(), rows.length.of_host(), k_cache.rows() / rows.capacity,
                     rows.capacity);
}

}  // namespace

void attention(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v,
               TensorRef out, TensorRef lse, const Context& context) {
    detail::check_operands(shape, q, k, v);
    SY_FITS(out.rows() == q.rows() && out.cols() == shape.heads * shape.value_width() &&
                lse.rows() == q.rows() && lse.cols() == shape.heads,
            "attention: q [", q.rows(), ", ", q.cols(), "], ", shape.heads, " heads of ", shape.value_width(),
            ", out [", out.rows(), ", ", out.cols(), "], lse [", lse.rows(), ", ", lse.cols(), "]");
    if (q.rows() == 0) return;
    const Timed timed(context, OpKind::softmax, 4.0 * detail::num_scores(shape));
    context.device.bodies().attention(shape, q, k, v, out, lse, context);
}

void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context) {
    detail::check_operands(shape, operands.q, operands.k, operands.v);
    check_gradients(shape, operands);
    if (operands.q.rows() == 0) return;
    const Timed timed(context, OpKind::softmax, 6.0 * detail::num_scores(shape));
    context.device.bodies().attention_backward(shape, operands, context);
}

void attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                      ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out, const Context& context) {
    check_decode(shape, q, k_cache, v_cache, rows, out);
    if (q.rows() == 0) return;
    // What is in the memory of a device may be as long as the caches.
    const index_t longest =
        rows.length.is_of_host() ? std::ranges::max(rows.length.of_host()) : rows.capacity;
    const index_t most = detail::num_seen(shape, longest);
    const Timed timed(context, OpKind::softmax,
                      (2.0 * static_cast<double>(shape.head_dim + shape.value_width()) + 4.0) *
                          static_cast<double>(q.rows() * shape.heads * most));
    context.device.bodies().attention_decode(shape, q, k_cache, v_cache, rows, out, context);
}

}  // namespace sy::ops
