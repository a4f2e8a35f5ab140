#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {
namespace {

void activation_forward(Bench& bench, ops::Activation kind) {
    const Tensor gate = bench.random({kTokens, kHidden}, 1);
    const Tensor up = bench.random({kTokens, kHidden}, 2);
    Tensor h = bench.fresh({kTokens, kHidden});
    const bool gated = ops::is_gated(kind);
    const auto rows_of = [&](Range rows, MatrixView<float> out) {
        ops::Activate<float> block;
        block.kind = kind;
        if (gated) block.gate = gate.matrix<float>().rows_of(rows);
        block.up = up.matrix<float>().rows_of(rows);
        block.h = out.rows_of(rows);
        return block;
    };
    bench.time(
        std::string(ops::activation_name(kind)), "forward", (gated ? 3.0 : 2.0) * kTokens * kHidden * kFloat,
        1e-5,
        [&] {
            cpu(bench.context()).team().for_ranges(kTokens, 8, [&](index_t begin, index_t end) {
                ops::activate(rows_of({begin, end}, h.matrix<float>()));
            });
        },
        [&] {
            Tensor expected = bench.fresh({kTokens, kHidden});
            ops::ref::activate(rows_of({0, kTokens}, expected.matrix<float>()));
            return largest_error(h.values<float>(), expected.values<float>());
        });
}

void activation_backward(Bench& bench, ops::Activation kind) {
    const Tensor gate = bench.random({kTokens, kHidden}, 1);
    const Tensor up = bench.random({kTokens, kHidden}, 2);
    const Tensor dh = bench.random({kTokens, kHidden}, 3);
    const bool gated = ops::is_gated(kind);
    const auto rows_of = [&](Range rows, Tensor& results) {
        const auto part = [&](index_t idx) {
            return MatrixView<float>(results.values<float>().data() + idx * kTokens * kHidden, kTokens,
                                     kHidden)
                .rows_of(rows);
        };
        ops::ActivateBackward<float> block;
        block.kind = kind;
        if (gated) block.gate = gate.matrix<float>().rows_of(rows);
        block.up = up.matrix<float>().rows_of(rows);
        block.dh = dh.matrix<float>().rows_of(rows);
        block.h = part(0);
        block.dup = part(1);
        if (gated) block.dgate = part(2);
        return block;
    };
    Tensor got = bench.fresh({gated ? 3 : 2, kTokens, kHidden});
    bench.time(
        std::string(ops::activation_name(kind)), "backward", (gated ? 6.0 : 4.0) * kTokens * kHidden * kFloat,
        1e-5,
        [&] {
            cpu(bench.context()).team().for_ranges(kTokens, 8, [&](index_t begin, index_t end) {
                ops::activate_backward(rows_of({begin, end}, got));
            });
        },
        [&] {
            Tensor expected = bench.fresh({gated ? 3 : 2, kTokens, kHidden});
            ops::ref::activate_backward(rows_of({0, kTokens}, expected));
            return largest_error(got.values<float>(), expected.values<float>());
        });
}

}  // namespace

void activations(Bench& bench) {
    for (const ops::Activation kind : ops::kActivations) {
        activation_forward(bench, kind);
        activation_backward(bench, kind);
    }
}

}  // namespace sy::runtime::bench::operation
