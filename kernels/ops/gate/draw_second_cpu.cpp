#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops {

void gate_draw_second(MatrixView<const std::int32_t> expert, MatrixView<const float> weight,
                      const SecondDraw& rule, MatrixView<std::int32_t> sent, const Context& context) {
    SY_FITS(expert.cols == 2 && weight.cols == 2 && sent.cols == 2 && weight.rows == expert.rows &&
                sent.rows == expert.rows,
            "gate_draw_second: choices [", expert.rows, ", ", expert.cols, "], weights [", weight.rows, ", ",
            weight.cols, "] into [", sent.rows, ", ", sent.cols, "], expected two choices a token");
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(expert.rows));
    context.team.for_ranges(expert.rows, 64, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const double chance = 2.0 * static_cast<double>(weight(t, 1)) / rule.scale;
            const auto u =
                static_cast<double>(uniform(rule.key, static_cast<std::uint64_t>(rule.first_token + t)));
            sent(t, 0) = expert(t, 0);
            sent(t, 1) = u < chance ? expert(t, 1) : -1;
        }
    });
}

}  // namespace sy::ops
