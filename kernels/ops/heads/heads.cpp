#include "kernels/ops/heads/heads.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary, ConstTensorRef k,
           ConstTensorRef v) {
    SY_FITS(widths.fit(expanded, rotary, k, v), "heads: ", widths.heads, " of ", widths.plain, " plain, ",
            widths.rotary, " rotary and ", widths.value, " value columns, between expanded [",
            expanded.rows(), ", ", expanded.cols(), "], rotary [", rotary.rows(), ", ", rotary.cols(),
            "], keys [", k.rows(), ", ", k.cols(), "] and values [", v.rows(), ", ", v.cols(), "]");
}

}  // namespace

bool HeadWidths::fit(ConstTensorRef expanded_rows, ConstTensorRef rotary_rows, ConstTensorRef k,
                     ConstTensorRef v) const {
    const index_t rows = k.rows();
    return heads > 0 && expanded_rows.rows() == rows && rotary_rows.rows() == rows && v.rows() == rows &&
           expanded_rows.cols() == expanded() && rotary_rows.cols() == rotary && k.cols() == heads * key() &&
           v.cols() == heads * value;
}

void spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary, TensorRef k,
                  TensorRef v, const Context& context) {
    check(widths, expanded, rotary, k, v);
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.device.bodies().spread_heads(widths, expanded, rotary, k, v, context);
}

void gather_heads(const HeadWidths& widths, ConstTensorRef dk, ConstTensorRef dv, TensorRef dexpanded,
                  TensorRef drotary, const Context& context) {
    check(widths, dexpanded, drotary, dk, dv);
    const Timed timed(context, OpKind::elementwise,
                      static_cast<double>(dk.rows() * widths.heads * widths.rotary));
    context.device.bodies().gather_heads(widths, dk, dv, dexpanded, drotary, context);
}

}  // namespace sy::ops
