#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {

void on_cpu::gate_draw_second(ConstTensorRef expert, ConstTensorRef weight, const SecondDraw& rule,
                              TensorRef sent, const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    const auto weight_tk = host<const float>(weight);
    const auto sent_tk = host<std::int32_t>(sent);
    SY_FITS(expert_tk.cols == 2 && weight_tk.cols == 2 && sent_tk.cols == 2 &&
                weight_tk.rows == expert_tk.rows && sent_tk.rows == expert_tk.rows,
            "gate_draw_second: choices [", expert_tk.rows, ", ", expert_tk.cols, "], weights [",
            weight_tk.rows, ", ", weight_tk.cols, "] into [", sent_tk.rows, ", ", sent_tk.cols,
            "], expected two choices a token");
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(expert_tk.rows));
    cpu(context).team().for_ranges(expert_tk.rows, 64, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const double chance = 2.0 * static_cast<double>(weight_tk(t, 1)) / rule.scale;
            const auto u =
                static_cast<double>(uniform(rule.key, static_cast<std::uint64_t>(rule.first_token + t)));
            sent_tk(t, 0) = expert_tk(t, 0);
            sent_tk(t, 1) = u < chance ? expert_tk(t, 1) : -1;
        }
    });
}

}  // namespace sy::ops
