#include "model/layers/row_norm.hpp"

#include "kernels/ops/copy/copy.hpp"

namespace sy::model {

RowNorm::RowNorm(LayerContext& shared, const std::string& name, index_t width)
    : shared_(shared), width_(width) {
    gain_ = shared.parameters.add(
        {.name = name + ".gain", .shape = {width}, .init = Init::ones, .weight_decay = false});
}

template <class T>
MatrixView<T> RowNorm::as_rows(MatrixView<T> x) const {
    SY_REQUIRE(x.is_contiguous() && x.cols % width_ == 0, "row norm: rows of ", x.cols, " columns, ",
               x.stride, " apart, as runs of ", width_);
    return {x.data, x.rows * (x.cols / width_), width_};
}

RowNorm::Saved RowNorm::forward(MatrixView<float> x, const Context& context) const {
    const MatrixView<float> rows = as_rows(x);
    Saved saved{Tensor(context.arena, DType::f32, {x.rows, x.cols}),
                Tensor(context.arena, DType::f32, {rows.rows})};
    ops::copy(x, saved.x.matrix<float>(), context);
    ops::norm(rule(), as_rows(saved.x.matrix<float>()), rows, {saved.rstd.values<float>(), {}}, context);
    return saved;
}

void RowNorm::apply(MatrixView<float> x, const Context& context) const {
    const MatrixView<float> rows = as_rows(x);
    Tensor rstd(context.arena, DType::f32, {rows.rows});
    ops::norm(rule(), rows, rows, {rstd.values<float>(), {}}, context);
}

void RowNorm::backward(const Saved& saved, MatrixView<float> dy, index_t block_rows,
                       const Context& context) const {
    const MatrixView<float> rows = as_rows(dy);
    ops::norm_backward(rule(),
                       {as_rows(saved.x.matrix<float>()),
                        {saved.rstd.values<float>(), {}},
                        rows,
                        Write::overwrite,
                        block_rows * (dy.cols / width_)},
                       rows, {shared_.parameters.gradient(gain_), {}}, context);
    shared_.gradient_ready(gain_);
}

ops::Norm RowNorm::rule() const {
    return {.gain = shared_.parameters.weight<float>(gain_).row_span(0),
            .bias = {},
            .eps = static_cast<float>(shared_.config.norm_eps)};
}

}  // namespace sy::model
