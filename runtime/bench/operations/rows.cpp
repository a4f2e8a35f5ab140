#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/indexed.hpp"
#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void rows(Bench& bench) {
    constexpr index_t kSlots = kTokens * kTopK;
    const Tensor x = bench.random({kTokens, kHidden}, 1);
    const Tensor slots = bench.random({kSlots, kHidden}, 2);
    PerSlot<std::int32_t> source(kSlots);
    PerSlot<std::int32_t> slot(kSlots);
    PerToken<index_t> offsets(kTokens + 1);
    for (index_t i = 0; i < kSlots; ++i) {
        source[i] = static_cast<std::int32_t>(i * 2654435761 % kTokens);
        slot[i] = static_cast<std::int32_t>((i * 40503 + 7) % kSlots);
    }
    for (index_t t = 0; t <= kTokens; ++t) offsets[t] = t * kTopK;
    Tensor gathered = bench.fresh({kSlots, kHidden});
    bench.time(
        "gathering of rows", "dispatch", 2.0 * kSlots * kHidden * kFloat, 0.0,
        [&] {
            ops::gather_rows(x.matrix<float>(), std::span<const std::int32_t>(source),
                             gathered.matrix<float>(), bench.context());
        },
        [&] {
            double error = 0.0;
            for (index_t i = 0; i < kSlots; ++i) {
                const auto got = std::as_const(gathered).matrix<float>().row_span(i);
                const auto expected = x.matrix<float>().row_span(source[i]);
                if (!std::ranges::equal(got, expected)) error = HUGE_VAL;
            }
            return error;
        });
    Tensor sums = bench.fresh({kTokens, kHidden});
    bench.time(
        "summing of six rows a token", "combine", (kSlots + 1.0 * kTokens) * kHidden * kFloat, 1e-6,
        [&] {
            ops::sum_rows(slots.matrix<float>(), offsets, slot, Write::overwrite, sums.matrix<float>(),
                          bench.context());
        },
        [&] {
            Tensor expected = bench.fresh({kTokens, kHidden});
            ops::ref::sum_rows(slots.matrix<float>(), offsets, slot, Write::overwrite,
                               expected.matrix<float>());
            return largest_error(sums.values<float>(), expected.values<float>());
        });
}

void embedding(Bench& bench) {
    const Tensor table = bench.random({kVocabulary, kHidden}, 1);
    const Tensor dout = bench.random({kTokens, kHidden}, 2);
    PerToken<std::int32_t> ids(kTokens);
    for (index_t t = 0; t < kTokens; ++t) ids[t] = static_cast<std::int32_t>(t * 2654435761 % kVocabulary);
    Tensor gradient = bench.fresh({kVocabulary, kHidden});
    const GradientRef sums_of_rows{gradient};
    bench.time(
        "embedding", "backward", 3.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] { ops::embedding_backward(ids, dout.matrix<float>(), sums_of_rows, bench.context()); },
        [&] {
            gradient.fill_zero();
            ops::embedding_backward(ids, dout.matrix<float>(), sums_of_rows, bench.context());
            std::vector<double> sums(kVocabulary * kHidden);
            ops::ref::embedding_backward(ids, dout.matrix<float>(),
                                         MatrixView<double>(sums.data(), kVocabulary, kHidden));
            const std::vector<float> expected(sums.begin(), sums.end());
            return largest_error(gradient.values<float>(), expected);
        });
}

}  // namespace sy::runtime::bench::operation
