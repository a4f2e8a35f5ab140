// A program of its own around Switchyard's routing and token exchange: expert e multiplies its rows by e + 1.
#include <cmath>
#include <cstdio>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "model/moe/routed_exchange.hpp"

int main() {
    constexpr sy::index_t kTokens = 64, kExperts = 6, kWidth = 16;
    const sy::comm::MpiSession mpi;
    const auto world = mpi.world({});
    sy::CpuDevice device(1);
    const sy::Context context{device, device.compute()};
    sy::model::RoutedExchangeConfig config;
    config.moe.experts = kExperts;
    config.moe.capacity_factor = 0.75;
    sy::model::RoutedExchange exchange(config, *world, context);

    const sy::Range mine = sy::part_of(kTokens, world->size(), world->rank());
    sy::Tensor logits(device, sy::DType::f32, {mine.size(), kExperts});
    sy::Tensor x(device, sy::DType::f32, {mine.size(), kWidth});
    sy::Tensor y(device, sy::DType::f32, {mine.size(), kWidth});
    for (sy::index_t t = mine.begin; t < mine.end; ++t) {
        for (sy::index_t e = 0; e < kExperts; ++e)
            logits.matrix<float>()(t - mine.begin, e) = std::sin(static_cast<float>(3 * t + 7 * e * e));
        for (float& value : x.matrix<float>().row_span(t - mine.begin)) value = static_cast<float>(t + 1);
    }
    const auto routed = exchange.route(logits.matrix<float>(), sy::model::Use::train);
    auto arrived = exchange.dispatch(x.matrix<float>(), routed);
    for (std::size_t l = 0; l < arrived.experts.size(); ++l)
        for (auto s = arrived.expert_offsets[l]; s < arrived.expert_offsets[l + 1]; ++s)
            for (float& value : arrived.rows.matrix<float>().row_span(s))
                value *= static_cast<float>(arrived.experts[l] + 1);
    exchange.combine(arrived.rows.matrix<float>(), routed, y.matrix<float>());

    // The choices of all ranks as one number, and how far y is from what one computes without an exchange.
    sy::index_t sums[] = {0, 0};
    for (sy::index_t t = 0; t < mine.size(); ++t) {
        double expected = 0.0;
        for (sy::index_t j = 0; j < 2; ++j) {
            const std::int32_t expert = routed.expert.matrix<std::int32_t>()(t, j);
            const bool kept = routed.kept[static_cast<std::size_t>(2 * t + j)] != 0;
            sums[0] += (mine.begin + t + 1) * (mine.begin + t + 1) * (12 * expert + 6 * j + (kept ? 5 : 0));
            if (kept)
                expected += (expert + 1.0) * routed.weight.matrix<float>()(t, j) * x.matrix<float>()(t, 0);
        }
        for (const float value : y.matrix<float>().row_span(t))
            if (std::fabs(value - expected) > 1e-5 * expected) ++sums[1];
    }
    sy::comm::all_reduce(*world, std::span<sy::index_t>(sums));
    if (world->rank() == 0)
        std::printf("choices %lld dropped %lld %s %.17g wrong %lld\n", static_cast<long long>(sums[0]),
                    static_cast<long long>(routed.num_dropped), routed.losses[0].name.c_str(),
                    routed.losses[0].value, static_cast<long long>(sums[1]));
    world->close();
    return sums[1] == 0 ? 0 : 1;
}
