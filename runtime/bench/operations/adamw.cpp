#include "kernels/ops/optimizer/optimizer.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void adamw(Bench& bench) {
    constexpr index_t kCount = index_t{8} << 20;
    const ops::AdamwStep rule{.lr = 1e-3F, .weight_decay = 0.1F, .gradient_scale = 0.5F, .step = 3};
    struct State {
        Tensor weight, m, v, gradient;
    };
    const auto state = [&] {
        State fresh_state{bench.random({kCount}, 2), bench.fresh({kCount}), bench.fresh({kCount}),
                          bench.random({kCount}, 1)};
        fresh_state.m.fill_zero();
        fresh_state.v.fill_zero();
        return fresh_state;
    };
    const auto operands = [&](State& of) { return ops::AdamwOperands{of.weight, of.m, of.v, of.gradient}; };
    State timed = state();
    bench.time(
        "AdamW, 8 Mi parameters", "update", 7.0 * kCount * kFloat, 1e-5,
        [&] { ops::adamw(operands(timed), rule, bench.context()); },
        [&] {
            State got = state();
            State expected = state();
            ops::adamw(operands(got), rule, bench.context());
            ops::ref::adamw(operands(expected), rule);
            return largest_error(got.weight.values<float>(), expected.weight.values<float>());
        });
}

}  // namespace sy::runtime::bench::operation
