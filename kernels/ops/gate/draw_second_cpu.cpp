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
