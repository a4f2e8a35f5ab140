#include "kernels/ops/heads/heads.hpp"

#include <algorithm>

#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void heads(Bench& bench) {
    const ops::HeadWidths widths{8, kHeadWidth, kHeadWidth / 2, kHeadWidth};
    const Tensor expanded = bench.random({kTokens, widths.expanded()}, 1);
    const Tensor rotary = bench.random({kTokens, widths.rotary}, 2);
    Tensor k = bench.fresh({kTokens, widths.heads * widths.key()});
    Tensor v = bench.fresh({kTokens, widths.heads * widths.value});
    const double bytes = kFloat * static_cast<double>(expanded.num_elements() + rotary.num_elements() +
                                                      k.num_elements() + v.num_elements());
    bench.time(
        "latent heads", "forward", bytes, 0.0,
        [&] { ops::spread_heads(widths, expanded, rotary, k, v, bench.context()); },
        [&] {
            Tensor expected_k = bench.fresh(k.shape());
            Tensor expected_v = bench.fresh(v.shape());
            ops::ref::spread_heads(widths, expanded.matrix<float>(), rotary.matrix<float>(),
                                   expected_k.matrix<float>(), expected_v.matrix<float>());
            return std::max(largest_error(k.values<float>(), expected_k.values<float>()),
                            largest_error(v.values<float>(), expected_v.values<float>()));
        });
    Tensor dexpanded = bench.fresh(expanded.shape());
    Tensor drotary = bench.fresh(rotary.shape());
    bench.time(
        "latent heads", "backward", bytes, 1e-6,
        [&] { ops::gather_heads(widths, k, v, dexpanded, drotary, bench.context()); },
        [&] {
            Tensor expected = bench.fresh(rotary.shape());
            Tensor expected_expanded = bench.fresh(expanded.shape());
            ops::ref::gather_heads(widths, k.matrix<float>(), v.matrix<float>(),
                                   expected_expanded.matrix<float>(), expected.matrix<float>());
            return std::max(largest_error(drotary.values<float>(), expected.values<float>()),
                            largest_error(dexpanded.values<float>(), expected_expanded.values<float>()));
        });
}

}  // namespace sy::runtime::bench::operation
