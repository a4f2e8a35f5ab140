#include "kernels/ops/embedding/embedding.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_ids(std::span<const std::int32_t> ids, index_t num_rows) {
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] < 0 || ids[t] >= num_rows) {
            throw ShapeError(concat("embedding: id ", ids[t], " at position ", t, " is outside the table of ",
                                    num_rows, " rows"));
        }
    }
}

}  // namespace

void embedding(ConstTensorRef table, List<std::int32_t> ids, TensorRef out, const Context& context) {
    SY_FITS(out.rows() == ids.size() && out.cols() == table.cols(), "embedding: ", ids.size(),
            " ids, table width ", table.cols(), ", out [", out.rows(), ", ", out.cols(), "]");
    if (ids.is_of_host()) check_ids(ids.of_host(), table.rows());
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.device.bodies().embedding(table, ids, out, context);
}

void embedding_backward(std::span<const std::int32_t> ids, ConstTensorRef dout, GradientRef gradient,
                        const Context& context) {
    SY_FITS(dout.rows() == static_cast<index_t>(ids.size()) && dout.cols() == gradient.cols(),
            "embedding_backward: ", ids.size(), " ids, dout [", dout.rows(), ", ", dout.cols(),
            "], gradient width ", gradient.cols());
    const Timed timed(context, OpKind::elementwise, static_cast<double>(dout.rows() * dout.cols()));
    check_ids(ids, gradient.rows());
    context.device.bodies().embedding_backward(ids, dout, gradient, context);
}

void add_positions(ConstTensorRef table, List<std::int32_t> positions, TensorRef x, const Context& context) {
    SY_FITS(x.rows() == positions.size() && x.cols() == table.cols(), "add_positions: ", positions.size(),
            " positions, table width ", table.cols(), ", x [", x.rows(), ", ", x.cols(), "]");
    if (positions.is_of_host()) check_ids(positions.of_host(), table.rows());
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.num_elements()));
    context.device.bodies().add_positions(table, positions, x, context);
}

void sine_table(TensorRef table, const Context& context) {
    context.device.bodies().sine_table(table, context);
}

}  // namespace sy::ops
