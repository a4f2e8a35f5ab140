#include "kernels/ops/rotary/rotary.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void rotary(TensorRef x, RotaryHeads heads, std::span<const std::int32_t> position, const RotaryTable& table,
            Direction direction, const Context& context) {
    SY_FITS(heads.head_dim > 0 && heads.first_dim >= 0 &&
                heads.first_dim + table.rotary_dim() <= heads.head_dim && x.cols() % heads.head_dim == 0 &&
                static_cast<index_t>(position.size()) == x.rows(),
            "rotary: rows of ", x.cols(), ", heads of ", heads.head_dim, ", from column ", heads.first_dim,
            ", table for ", table.rotary_dim(), ", ", position.size(), " positions for ", x.rows(), " rows");
    for (const std::int32_t where : position) {
        SY_FITS(where >= 0 && where < table.num_positions(), "rotary: position ", where,
                " beyond the table's ", table.num_positions());
    }
    const index_t num_heads = x.cols() / heads.head_dim;
    const Timed timed(context, OpKind::elementwise,
                      3.0 * static_cast<double>(x.rows() * num_heads * table.rotary_dim()));
    context.device.bodies().rotary(x, heads, position, table, direction, context);
}

}  // namespace sy::ops
