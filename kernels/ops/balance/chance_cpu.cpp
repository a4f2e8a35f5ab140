#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/balance/operands.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// body(t, the chosen of t, the next best of t) on the threads.
template <class Body>
void for_tokens(const detail::ChanceOperands& chances, const Context& context, const Body& body) {
    cpu(context).team().for_ranges(chances.logits.rows, 64, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const std::span<const std::int32_t> best = chances.best.row_span(t);
            body(t, best.first(best.size() - 1), best.back());
        }
    });
}

}  // namespace

void on_cpu::chance_distances(const Chances& in, TensorRef distance, const Context& context) {
    const detail::ChanceOperands chances(in);
    const auto distance_te = host<float>(distance);
    for_tokens(chances, context, [&](index_t t, std::span<const std::int32_t> chosen, std::int32_t next) {
        const auto set = [&](index_t e, float threshold) {
            distance_te(t, e) = (chances.clean(t, e) - threshold) / chances.scale(t, e);
        };
        for (index_t e = 0; e < distance_te.cols; ++e) set(e, chances.logits(t, chosen.back()));
        for (const std::int32_t e : chosen) set(e, chances.logits(t, next));
    });
}

void on_cpu::chance_backward(const Chances& in, std::span<const float> factor, ConstTensorRef distance,
                             TensorRef density, const ChanceGradients& gradients, const Context& context) {
    const detail::ChanceOperands chances(in);
    const auto distance_te = host<const float>(distance);
    const auto density_te = host<float>(density);
    const auto dclean_te = host<float>(gradients.clean);
    const auto dlogits_te = host<float>(gradients.logits);
    const auto dscale_te = host<float>(gradients.scale);
    for_tokens(chances, context, [&](index_t t, std::span<const std::int32_t> chosen, std::int32_t next) {
        float total = 0.0F;
        for (index_t e = 0; e < distance_te.cols; ++e) {
            density_te(t, e) *= factor[static_cast<std::size_t>(e)] / chances.scale(t, e);
            dclean_te(t, e) += density_te(t, e);
            dscale_te(t, e) -= density_te(t, e) * distance_te(t, e);
            total += density_te(t, e);
        }
        float of_chosen = 0.0F;
        for (const std::int32_t e : chosen) of_chosen += density_te(t, e);
        dlogits_te(t, next) -= of_chosen;
        dlogits_te(t, chosen.back()) -= total - of_chosen;
    });
}

}  // namespace sy::ops
