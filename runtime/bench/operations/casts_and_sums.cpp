#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {

void casts_and_sums(Bench& bench) {
    const Tensor x = bench.random({kTokens, kHidden}, 1);
    Tensor y = bench.random({kTokens, kHidden}, 2);
    Tensor rounded = bench.fresh({kTokens, kHidden}, DType::bf16);
    bench.time(
        "cast to bf16", "forward", 1.5 * kTokens * kHidden * kFloat, 0x1p-8,
        [&] { ops::cast(x.matrix<float>(), rounded.matrix<bf16>(), bench.context()); },
        [&] {
            std::vector<float> got;
            for (const bf16 value : std::as_const(rounded).values<bf16>())
                got.push_back(static_cast<float>(value));
            return largest_error(got, x.values<float>());
        });
    bench.time(
        "copy of columns", "elementwise", 1.0 * kTokens * kHidden * kFloat, 0.0,
        [&] {
            ops::copy(x.ref().cols_of({0, kHidden / 2}), y.ref().cols_of({kHidden / 2, kHidden}),
                      bench.context());
        },
        [&] {
            const MatrixView<const float> got = y.matrix<float>();
            for (index_t t = 0; t < kTokens; ++t) {
                if (!std::equal(x.matrix<float>().row(t), x.matrix<float>().row(t) + kHidden / 2,
                                got.row(t) + kHidden / 2))
                    return HUGE_VAL;
            }
            return 0.0;
        });
    std::vector<double> sums(kTokens);
    bench.time(
        "sums of squares by row", "gradient norm", 1.0 * kTokens * kHidden * kFloat, 1e-12,
        [&] { ops::row_sums_of_squares(x, host_operand(std::span(sums)), bench.context()); },
        [&] {
            double expected = 0.0;
            for (const float value : x.values<float>())
                expected += static_cast<double>(value) * static_cast<double>(value);
            return std::fabs(std::accumulate(sums.begin(), sums.end(), 0.0) / expected - 1.0);
        });
    bench.time(
        "addition", "elementwise", 3.0 * kTokens * kHidden * kFloat, 0.0,
        [&] { ops::add(x, y, bench.context()); },
        [&] {
            const Tensor before = bench.random({kTokens, kHidden}, 3);
            Tensor got = bench.random({kTokens, kHidden}, 3);
            ops::add(x, got, bench.context());
            double error = 0.0;
            for (std::size_t i = 0; i < got.values<float>().size(); ++i) {
                const float expected = x.values<float>()[i] + before.values<float>()[i];
                if (got.values<float>()[i] != expected) error = HUGE_VAL;
            }
            return error;
        });
}

}  // namespace sy::runtime::bench::operation
