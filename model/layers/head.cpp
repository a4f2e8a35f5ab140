#include "model/layers/head.hpp"

#include <algorithm>

#include "kernels/core/offsets.hpp"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "kernels/ops/softcap/softcap.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {
namespace {

/// Rows of one chunk of logits. Chunks do not cross sequences, so that they are the same on every layout.
constexpr index_t kChunkRows = 256;

}  // namespace

Head::Head(LayerContext& shared)
    : shared_(shared),
      tied_(shared.config.tied_head),
      weight_(tied_ ? embedding_table(shared.parameters)
                    : shared.parameters.id({{StackId::main, -1, Part::output}, Role::head})),
      bias_(shared.parameters.find({{StackId::main, -1, Part::output}, Role::head, Piece::bias})) {}

ConstTensorRef Head::scaled(ConstTensorRef x, Tensor& room, const Context& context) const {
    if (scale() == 1.0F) return x;
    room = Tensor(context.device, DType::f32, {x.rows(), x.cols()});
    ops::scale(scale(), x, room, context);
    return room;
}

void Head::project(ConstTensorRef x, TensorRef out, const Context& context) const {
    const Parameters& parameters = shared_.parameters;
    ops::multiply({x, ops::Transpose::no, parameters.working_weight(weight_),
                   tied_ ? ops::Transpose::yes : ops::Transpose::no, out},
                  context);
    if (bias_ >= 0) ops::add_bias(parameters.weight(bias_), out, context);
}

void Head::forward(Tape& tape, Value& x, const HeadLoss& loss, const PassInfo& pass) const {
    const Context& context = tape.context();
    Parameters& parameters = shared_.parameters;
    const index_t vocabulary = shared_.config.vocab_size;
    const index_t rows = x.ref().rows();
    const ConstTensorRef weight = parameters.working_weight(weight_);
    if (tape.recording()) x.grad = Tensor(context.device, DType::f32, x.data.shape());
    const Shape chunk_shape{std::min(kChunkRows, pass.seq_len), vocabulary};
    Tensor logits(context.device, DType::f32, chunk_shape);
    const auto cap = static_cast<float>(shared_.config.logit_softcap);
    Tensor uncapped(context.device, DType::f32, cap > 0.0F ? chunk_shape : Shape{0, 0});
    Tensor room;
    const ProductInput input(scaled(x.data, room, context), shared_.config.dtype, context);
    for (index_t first = 0; first < rows;) {
        const index_t sequence_end = (first / pass.seq_len + 1) * pass.seq_len;
        const Range chunk{first, std::min({first + kChunkRows, sequence_end, rows})};
        first = chunk.end;
        const TensorRef chunk_logits = logits.ref().rows_of({0, chunk.size()});
        const ConstTensorRef x_part = input.ref().rows_of(chunk);
        const TensorRef raw = cap > 0.0F ? uncapped.ref().rows_of({0, chunk.size()}) : chunk_logits;
        project(x_part, raw, context);
        if (cap > 0.0F) ops::soft_cap(raw, cap, chunk_logits, context);
        ops::softmax_xent(chunk_logits, part(loss.target, chunk), tape.recording() ? loss.scale : 0.0F,
                          loss.loss.cols_of(chunk),
                          {loss.z_scale, loss.lse.is_null() ? loss.lse : loss.lse.cols_of(chunk)}, context);
        if (!tape.recording()) continue;
        // The loss has put its gradient in place of the capped logits.
        if (cap > 0.0F) ops::soft_cap_backward(raw, cap, chunk_logits, context);
        if (bias_ >= 0) ops::bias_backward(chunk_logits, chunk.size(), parameters.gradient(bias_), context);
        const ProductInput dlogits(chunk_logits, shared_.config.dtype, context);
        ops::multiply({dlogits.ref(), ops::Transpose::no, weight,
                       tied_ ? ops::Transpose::no : ops::Transpose::yes, x.grad.ref().rows_of(chunk)},
                      context);
        const GradientRef gradient = parameters.gradient(weight_);
        if (tied_) {
            ops::add_weight_gradient(dlogits.ref(), x_part, chunk.size(), gradient, context);
        } else {
            ops::add_weight_gradient(x_part, dlogits.ref(), chunk.size(), gradient, context);
        }
    }
    if (!tape.recording()) return;
    if (scale() != 1.0F) ops::scale(scale(), x.grad, context);
    // The embedding of a tied head is complete only after the embedding's own backward.
    shared_.gradients_ready({bias_, tied_ ? ParameterId{-1} : weight_});
}

void Head::logits(ConstTensorRef x, TensorRef out, const Context& context) const {
    Tensor room;
    const ProductInput input(scaled(x, room, context), shared_.config.dtype, context);
    project(input.ref(), out, context);
    const auto cap = static_cast<float>(shared_.config.logit_softcap);
    if (cap > 0.0F) ops::soft_cap(out, cap, out, context);
}

}  // namespace sy::model
