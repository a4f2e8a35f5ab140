#include "kernels/core/indexed.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void cross_entropy(Bench& bench) {
    Tensor logits = bench.random({kTokens, kVocabulary}, 1);
    PerToken<std::int32_t> target(kTokens);
    for (index_t t = 0; t < kTokens; ++t) target[t] = static_cast<std::int32_t>(t % kVocabulary);
    std::vector<float> loss(kTokens);
    // Without a scale the logits stay, and the operation reads them once.
    bench.time(
        "softmax + cross entropy", "forward", 1.0 * kTokens * kVocabulary * kFloat, 1e-5,
        [&] { ops::softmax_xent(logits, target, 0.0F, host_operand(std::span(loss)), bench.context()); },
        [&] {
            std::vector<float> expected(kTokens);
            ops::ref::softmax_xent(logits.matrix<float>(), target, 0.0F, expected);
            return largest_error(loss, expected);
        });
}

}  // namespace sy::runtime::bench::operation
