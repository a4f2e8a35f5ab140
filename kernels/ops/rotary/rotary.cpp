#include "kernels/ops/rotary/rotary.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_positions(std::span<const std::int32_t> positions, const RotaryTable& table) {
    for (const std::int32_t where : positions) {
        SY_FITS(where >= 0 && where < table.num_positions(), "rotary: position ", where,
                " beyond the table's ", table.num_positions());
    }
}

}  // namespace

void rotary(TensorRef x, RotaryHeads heads, List<std::int32_t> position, const RotaryTable& table,
            Direction direction, const Context& context) {
    SY_FITS(heads.head_dim > 0 && heads.first_dim >= 0 &&
                heads.first_dim + table.rotary_dim() <= heads.head_dim && x.cols() % heads.head_dim == 0 &&
                position.size() == x.rows(),
            "rotary: rows of ", x.cols(), ", heads of ", heads.head_dim, ", from column ", heads.first_dim,
            ", table for ", table.rotary_dim(), ", ", position.size(), " positions for ", x.rows(), " rows");
    if (position.is_of_host()) check_positions(position.of_host(), table);
    const index_t num_heads = x.cols() / heads.head_dim;
    const Timed timed(context, OpKind::elementwise,
                      3.0 * static_cast<double>(x.rows() * num_heads * table.rotary_dim()));
    context.device.bodies().rotary(x, heads, position, table, direction, context);
}

}  // namespace sy::ops
