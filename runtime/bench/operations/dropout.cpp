#include "kernels/ops/dropout/dropout.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void dropout(Bench& bench) {
    const Tensor x = bench.random({kTokens, kHidden}, 1);
    Tensor y = bench.fresh({kTokens, kHidden});
    const RandomKey key{.purpose = RandomPurpose::dropout};
    bench.time(
        "dropout", "forward", 2.0 * kTokens * kHidden * kFloat, 1e-6,
        [&] { ops::dropout(x.matrix<float>(), key, 0, 0.1F, y.matrix<float>(), bench.context()); },
        [&] {
            Tensor expected = bench.fresh({kTokens, kHidden});
            ops::ref::dropout(x.matrix<float>(), key, 0, 0.1F, expected.matrix<float>());
            return largest_error(y.values<float>(), expected.values<float>());
        });
}

}  // namespace sy::runtime::bench::operation
