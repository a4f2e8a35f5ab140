#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/ops/gate/gate.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void router(Bench& bench) {
    const Tensor logits = bench.random({kTokens, kExperts}, 1);
    Tensor scores = bench.fresh({kTokens, kExperts});
    Tensor lse = bench.fresh({kTokens});
    Tensor expert = bench.fresh({kTokens, kTopK}, DType::i32);
    Tensor weight = bench.fresh({kTokens, kTopK});
    bench.time(
        "router softmax", "forward", 2.0 * kTokens * kExperts * kFloat, 1e-5,
        [&] { ops::gate_scores(ops::Score::softmax, logits, scores, lse, bench.context()); },
        [&] {
            Tensor expected = bench.fresh({kTokens, kExperts});
            ops::ref::gate_scores(ops::Score::softmax, logits.matrix<float>(), expected.matrix<float>(),
                                  lse.values<float>());
            return largest_error(scores.values<float>(), expected.values<float>());
        });
    bench.time(
        "router top-6 of 64", "forward", kTokens * (kExperts + 2.0 * kTopK) * kFloat, 1e-5,
        [&] {
            ops::gate_top_k(scores, expert, bench.context());
            ops::gate_weights({scores, expert, ops::Renormalise::yes, 1.0F}, weight, bench.context());
        },
        [&] {
            Tensor choice = bench.fresh({kTokens, kTopK}, DType::i32);
            Tensor expected = bench.fresh({kTokens, kTopK});
            ops::ref::gate_top_k(std::as_const(scores).matrix<float>(), choice.matrix<std::int32_t>());
            ops::ref::gate_weights({scores, choice, ops::Renormalise::yes, 1.0F}, expected.matrix<float>());
            const bool same = std::ranges::equal(std::as_const(choice).values<std::int32_t>(),
                                                 std::as_const(expert).values<std::int32_t>());
            return same ? largest_error(weight.values<float>(), expected.values<float>()) : HUGE_VAL;
        });
}

}  // namespace sy::runtime::bench::operation
