#include "kernels/ops/attention/attention.hpp"
#include "runtime/bench/operations/operations.hpp"

namespace sy::runtime::bench::operation {
namespace {

/// @param rules  of the shape; its sizes are those of the benchmark
void attend(Bench& bench, const std::string& name, const ops::AttentionShape& rules) {
    ops::AttentionShape shape = rules;
    shape.num_sequences = kTokens / kSequence;
    shape.seq_len = kSequence;
    shape.heads = shape.kv_heads = kHidden / kHeadWidth;
    shape.head_dim = kHeadWidth;
    shape.scale = 0.125F;
    const Tensor q = bench.random({kTokens, kHidden}, 1);
    const Tensor k = bench.random({kTokens, kHidden}, 2);
    const Tensor v = bench.random({kTokens, kHidden}, 3);
    Tensor out = bench.fresh({kTokens, kHidden});
    Tensor lse = bench.fresh({kTokens, shape.heads});
    bench.time(
        name, "forward", 4.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] { ops::attention(shape, q, k, v, out, lse, bench.context()); },
        [&] {
            std::vector<float> expected(kTokens * kHidden);
            ops::ref::attention(shape, q.matrix<float>(), k.matrix<float>(), v.matrix<float>(),
                                {expected.data(), kTokens, kHidden});
            return largest_error(out.values<float>(), expected);
        });
    const Tensor dout = bench.random({kTokens, kHidden}, 4);
    Tensor gradients = bench.fresh({3, kTokens, kHidden});
    Tensor expected = bench.fresh({3, kTokens, kHidden});
    const auto operands = [&](Tensor& target) {
        const TensorRef rows = target;
        return ops::AttentionBackward{q,
                                      k,
                                      v,
                                      out,
                                      lse,
                                      dout,
                                      rows.rows_of({0, kTokens}),
                                      rows.rows_of({kTokens, 2 * kTokens}),
                                      rows.rows_of({2 * kTokens, 3 * kTokens})};
    };
    bench.time(
        name, "backward", 8.0 * kTokens * kHidden * kFloat, 1e-5,
        [&] { ops::attention_backward(shape, operands(gradients), bench.context()); },
        [&] {
            ops::ref::attention_backward(shape, operands(expected));
            return largest_error(gradients.values<float>(), expected.values<float>());
        });
}

}  // namespace

void attention(Bench& bench) {
    attend(bench, "attention, 16 x 256 tokens", {});
    attend(bench, "attention, window of 64", {.window = 64});
    attend(bench, "attention, soft cap", {.soft_cap = 50.0F});
    const std::vector<float> slopes = ops::alibi_slopes(kHidden / kHeadWidth);
    attend(bench, "attention, ALiBi", {.bias = {.slopes = slopes}});
    attend(bench, "attention, dropout", {.dropout = {.probability = 0.1F}});
}

}  // namespace sy::runtime::bench::operation
