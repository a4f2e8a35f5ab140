#include "model/layers/row_norm.hpp"

#include "kernels/ops/copy/copy.hpp"

namespace sy::model {

RowNorm::RowNorm(LayerContext& shared, const LayerKey& layer, Role role)
    : shared_(shared),
      gain_(shared.parameters.id({layer, role, Piece::gain})),
      width_(shared.parameters.spec(gain_).shape[0]) {}

template <class Ref>
Ref RowNorm::as_rows(Ref x) const {
    SY_REQUIRE(x.is_contiguous() && x.cols() % width_ == 0, "row norm: rows of ", x.cols(), " columns, ",
               x.stride(), " apart, as runs of ", width_);
    return x.as_matrix(x.rows() * (x.cols() / width_), width_);
}

RowNorm::Saved RowNorm::forward(TensorRef x, const Context& context) const {
    const TensorRef rows = as_rows(x);
    Saved saved{Tensor(context.device, DType::f32, {x.rows(), x.cols()}),
                Tensor(context.device, DType::f32, {rows.rows()})};
    ops::copy(x, saved.x, context);
    ops::norm(rule(), as_rows(saved.x.ref()), rows, {saved.rstd, {}}, context);
    return saved;
}

void RowNorm::apply(TensorRef x, const Context& context) const {
    const TensorRef rows = as_rows(x);
    Tensor rstd(context.device, DType::f32, {rows.rows()});
    ops::norm(rule(), rows, rows, {rstd, {}}, context);
}

void RowNorm::backward(const Saved& saved, TensorRef dy, index_t block_rows, const Context& context) const {
    const TensorRef rows = as_rows(dy);
    ops::norm_backward(
        rule(),
        {as_rows(saved.x.ref()), saved.rstd, {}, rows, Write::overwrite, block_rows * (dy.cols() / width_)},
        rows, {shared_.parameters.gradient(gain_), {}}, context);
    shared_.gradient_ready(gain_);
}

ops::Norm RowNorm::rule() const {
    return {.gain = shared_.parameters.weight(gain_),
            .bias = {},
            .eps = static_cast<float>(shared_.config.norm_eps)};
}

}  // namespace sy::model
