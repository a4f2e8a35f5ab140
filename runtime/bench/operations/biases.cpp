#include <algorithm>
#include <cmath>

#include "kernels/ops/bias/bias.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void biases(Bench& bench) {
    Tensor y = bench.random({kTokens, kHidden}, 1);
    const Tensor dy = bench.random({kTokens, kHidden}, 2);
    const Tensor bias = bench.random({kHidden}, 3);
    bench.time(
        "bias", "forward", 2.0 * kTokens * kHidden * kFloat, 0.0,
        [&] { ops::add_bias(bias, y.matrix<float>(), bench.context()); },
        [&] {
            Tensor got = bench.fresh({kTokens, kHidden});
            got.fill_zero();
            ops::add_bias(bias, got.matrix<float>(), bench.context());
            double error = 0.0;
            for (index_t t = 0; t < kTokens; ++t) {
                if (!std::ranges::equal(got.matrix<float>().row_span(t), bias.values<float>()))
                    error = HUGE_VAL;
            }
            return error;
        });
    std::vector<float> gradient(kHidden);
    const GradientRef into{host_operand(std::span(gradient))};
    bench.time(
        "bias", "backward", 1.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] { ops::bias_backward(dy.matrix<float>(), kSequence, into, bench.context()); },
        [&] {
            std::ranges::fill(gradient, 0.0F);
            ops::bias_backward(dy.matrix<float>(), kSequence, into, bench.context());
            std::vector<double> sums(kHidden);
            ops::ref::bias_backward(dy.matrix<float>(), std::span(sums));
            const std::vector<float> expected(sums.begin(), sums.end());
            return largest_error(gradient, expected);
        });
}

}  // namespace sy::runtime::bench::operation
