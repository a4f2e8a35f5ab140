#include "kernels/ops/softcap/softcap.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void soft_cap(Bench& bench) {
    const Tensor x = bench.random({kTokens, kVocabulary}, 1);
    Tensor y = bench.fresh({kTokens, kVocabulary});
    Tensor expected = bench.fresh({kTokens, kVocabulary});
    bench.time(
        "soft cap of logits", "forward", 2.0 * kTokens * kVocabulary * kFloat, 1e-6,
        [&] { ops::soft_cap(x, 2.0F, y, bench.context()); },
        [&] {
            ops::ref::soft_cap(x.matrix<float>(), 2.0F, expected.matrix<float>());
            return largest_error(y.values<float>(), expected.values<float>());
        });
    bench.time(
        "soft cap of logits", "backward", 3.0 * kTokens * kVocabulary * kFloat, 1e-5,
        [&] { ops::soft_cap_backward(x, 2.0F, y, bench.context()); },
        [&] {
            Tensor got = bench.random({kTokens, kVocabulary}, 2);
            Tensor wanted = bench.random({kTokens, kVocabulary}, 2);
            ops::soft_cap_backward(x, 2.0F, got, bench.context());
            ops::ref::soft_cap_backward(x.matrix<float>(), 2.0F, wanted.matrix<float>());
            return largest_error(got.values<float>(), wanted.values<float>());
        });
}

}  // namespace sy::runtime::bench::operation
