#include "kernels/ops/pointwise/pointwise.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void pointwise(Bench& bench) {
    constexpr double kPass = 2.0 * kTokens * kHidden * kFloat;
    Tensor x = bench.random({kTokens, kHidden}, 1);
    bench.time(
        "clip of projections", "forward", kPass, 1e-7, [&] { ops::clip(x, 0.5F, bench.context()); },
        [&] {
            Tensor got = bench.random({kTokens, kHidden}, 2);
            Tensor wanted = bench.random({kTokens, kHidden}, 2);
            ops::clip(got, 0.5F, bench.context());
            ops::ref::clip(wanted.matrix<float>(), 0.5F);
            return largest_error(got.values<float>(), wanted.values<float>());
        });
    bench.time(
        "sigmoid", "forward", kPass, 1e-6, [&] { ops::sigmoid(x, bench.context()); },
        [&] {
            Tensor got = bench.random({kTokens, kHidden}, 2);
            Tensor wanted = bench.random({kTokens, kHidden}, 2);
            ops::sigmoid(got, bench.context());
            ops::ref::sigmoid(wanted.matrix<float>());
            return largest_error(got.values<float>(), wanted.values<float>());
        });
}

}  // namespace sy::runtime::bench::operation
