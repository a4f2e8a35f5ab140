#include <algorithm>
#include <cmath>

#include "kernels/core/indexed.hpp"
#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {
namespace {

/// The position of every token in its sequence.
PerToken<std::int32_t> positions_of_tokens() {
    PerToken<std::int32_t> position(kTokens);
    for (index_t t = 0; t < kTokens; ++t) position[t] = static_cast<std::int32_t>(t % kSequence);
    return position;
}

void rotate(Bench& bench, const std::string& name, ops::RotaryPairs pairs) {
    Tensor x = bench.random({kTokens, kHidden}, 1);
    const ops::RotaryRule rule{kHeadWidth, 10000.0, pairs};
    const ops::RotaryTable table(kSequence, rule);
    const PerToken<std::int32_t> position = positions_of_tokens();
    const auto apply = [&](Tensor& values) {
        ops::rotary(values, kHeadWidth, position, table, ops::Direction::forward, bench.context());
    };
    bench.time(
        name, "forward", 2.0 * kTokens * kHidden * kFloat, 1e-5, [&] { apply(x); },
        [&] {
            Tensor got = bench.random({kTokens, kHidden}, 2);
            Tensor expected = bench.random({kTokens, kHidden}, 2);
            apply(got);
            ops::ref::rotary(expected.matrix<float>(), kHeadWidth, position, rule, ops::Direction::forward);
            return largest_error(got.values<float>(), expected.values<float>());
        });
}

}  // namespace

void rotations(Bench& bench) {
    rotate(bench, "rotary", ops::RotaryPairs::half_split);
    rotate(bench, "rotary, interleaved", ops::RotaryPairs::interleaved);
}

void position_table(Bench& bench) {
    const Tensor table = bench.random({kSequence, kHidden}, 1);
    Tensor x = bench.random({kTokens, kHidden}, 2);
    const PerToken<std::int32_t> position = positions_of_tokens();
    bench.time(
        "positions of a table", "forward", 2.0 * kTokens * kHidden * kFloat, 0.0,
        [&] { ops::add_positions(table.matrix<float>(), position, x.matrix<float>(), bench.context()); },
        [&] {
            Tensor got = bench.fresh({kTokens, kHidden});
            got.fill_zero();
            ops::add_positions(table.matrix<float>(), position, got.matrix<float>(), bench.context());
            double error = 0.0;
            for (index_t t = 0; t < kTokens; ++t) {
                if (!std::ranges::equal(got.matrix<float>().row_span(t),
                                        table.matrix<float>().row_span(position[t])))
                    error = HUGE_VAL;
            }
            return error;
        });
}

}  // namespace sy::runtime::bench::operation
