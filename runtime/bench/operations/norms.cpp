#include <utility>

#include "kernels/ops/norm/norm.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {
namespace {

/// What a norm is made of: a rule over `gain`, and room for its statistics.
struct NormRows {
    Tensor gain, rstd, mean;
    ops::Norm rule;
    ops::NormStatistics statistics;
    std::string name;
};
NormRows norm_rows(Bench& bench, ops::NormKind kind) {
    NormRows rows{
        bench.random({kHidden}, 3), bench.fresh({kTokens}), bench.fresh({kTokens}), {}, {}, "rms_norm"};
    rows.rule.kind = kind;
    rows.rule.gain = rows.gain;
    rows.statistics.rstd = rows.rstd;
    if (kind == ops::NormKind::layer) {
        rows.statistics.mean = rows.mean;
        rows.name = "layer_norm";
    }
    return rows;
}

void norm_forward(Bench& bench, ops::NormKind kind) {
    const Tensor x = bench.random({kTokens, kHidden}, 1);
    const Tensor residual = bench.random({kTokens, kHidden}, 2);
    Tensor sum = bench.fresh({kTokens, kHidden});
    Tensor y = bench.fresh({kTokens, kHidden});
    const NormRows rows = norm_rows(bench, kind);
    bench.time(
        "residual + " + rows.name, "forward", 4.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] {
            ops::add_norm(rows.rule, {x, residual, sum, y}, rows.statistics, bench.context());
        },
        [&] {
            Tensor expected = bench.fresh({kTokens, kHidden});
            ops::ref::norm(rows.rule, std::as_const(sum).matrix<float>(), expected.matrix<float>());
            return largest_error(y.values<float>(), expected.values<float>());
        });
}

void norm_backward(Bench& bench, ops::NormKind kind) {
    const Tensor x = bench.random({kTokens, kHidden}, 1);
    const Tensor dy = bench.random({kTokens, kHidden}, 2);
    Tensor y = bench.fresh({kTokens, kHidden});
    Tensor dx = bench.fresh({kTokens, kHidden});
    Tensor dgain = bench.fresh({kHidden});
    const NormRows rows = norm_rows(bench, kind);
    ops::norm(rows.rule, x, y, rows.statistics, bench.context());
    const ops::NormBackward in{x,  rows.statistics.rstd, rows.statistics.mean,
                               dy, Write::overwrite,     kSequence};
    bench.time(
        rows.name, "backward", 3.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] {
            ops::norm_backward(rows.rule, in, dx, {{dgain}, {}}, bench.context());
        },
        [&] {
            Tensor expected = bench.fresh({kTokens, kHidden});
            std::vector<double> expected_gain(kHidden);
            ops::ref::norm_backward(rows.rule, in, expected.matrix<float>(), expected_gain, {});
            return largest_error(dx.values<float>(), expected.values<float>());
        });
}

}  // namespace

void norms(Bench& bench) {
    for (const ops::NormKind kind : {ops::NormKind::rms, ops::NormKind::layer}) {
        norm_forward(bench, kind);
        norm_backward(bench, kind);
    }
}

}  // namespace sy::runtime::bench::operation
