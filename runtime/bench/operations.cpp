// Operations that are not matrix products, against the bandwidth of copying: what each has to read and write once.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/norm/norm.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "kernels/ops/softcap/softcap.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

constexpr index_t kTokens = 4096;
constexpr index_t kHidden = 512;
constexpr index_t kExperts = 64;
constexpr index_t kTopK = 6;
constexpr index_t kVocabulary = 4096;
constexpr index_t kSequence = 256;
constexpr index_t kHeadWidth = 64;
constexpr double kFloat = sizeof(float);

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Largest |got - expected| over the largest |expected|.
double largest_error(std::span<const float> got, std::span<const float> expected) {
    double error = 0.0;
    double scale = 1e-30;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const auto target = static_cast<double>(expected[i]);
        const double difference = std::fabs(static_cast<double>(got[i]) - target);
        error = std::isfinite(difference) ? std::max(error, difference) : HUGE_VAL;
        scale = std::max(scale, std::fabs(target));
    }
    return error / scale;
}

/// One benchmark of operations: the machine, the report, and the bandwidth to compare with.
class Operations {
  public:
    Operations(const BenchOptions& options, Report& report)
        : options_(options),
          machine_(options.threads),
          report_(report),
          bandwidth_(measure_bandwidth(options, machine_)) {
        report.note(concat(options.threads, " threads; copying of large arrays: ", bandwidth_ / 1e9,
                           " GB/s; T = ", kTokens, ", H = ", kHidden, ", E = ", kExperts, ", K = ", kTopK,
                           ", V = ", kVocabulary));
    }

    void all() {
        for (const ops::NormKind kind : {ops::NormKind::rms, ops::NormKind::layer}) {
            norm(kind);
            norm_backward(kind);
        }
        for (const ops::Activation kind : ops::kActivations) activation(kind);
        bias();
        rotary("rotary", ops::RotaryPairs::half_split);
        rotary("rotary, interleaved", ops::RotaryPairs::interleaved);
        attention("attention, 16 x 256 tokens", {});
        attention("attention, window of 64", {.window = 64});
        attention("attention, soft cap", {.soft_cap = 50.0F});
        const std::vector<float> slopes = ops::alibi_slopes(kHidden / kHeadWidth);
        attention("attention, ALiBi", {.bias = {.slopes = slopes}});
        attention("attention, dropout", {.dropout = {.probability = 0.1F}});
        dropout();
        soft_cap();
        cross_entropy();
        gate();
        rows();
        embedding();
        positions();
        adamw();
        casts_and_sums();
    }

  private:
    const Context& context() { return machine_.context; }
    Tensor fresh(Shape shape, DType dtype = DType::f32) { return Tensor(machine_.arena, dtype, shape); }
    Tensor random(Shape shape, std::uint64_t stream) { return machine_.random<float>(shape, stream); }

    /// @param bytes  that the operation must move between memory and processor at least once
    void time(const std::string& name, const std::string& pass, double bytes, double tolerance,
              const std::function<void()>& body, const std::function<double()>& error) {
        BenchRow row;
        row.what = "ops";
        row.shape = name;
        row.dtype = "f32";
        row.mode = "fast";
        row.pass = pass;
        row.threads = machine_.team.size();
        row.times = time_repeatedly(options_, body);
        row.rate = 1e-6 * bytes / row.times.best_ms;
        row.share = 1e9 * row.rate / bandwidth_;
        row.error = error();
        row.tolerance = tolerance;
        report_.row(row);
    }

    /// What a norm is made of: a rule over `gain`, and room for its statistics.
    struct NormRows {
        Tensor gain, rstd, mean;
        ops::Norm rule;
        ops::NormStatistics<float> statistics;
        std::string name;
    };
    NormRows norm_rows(ops::NormKind kind) {
        NormRows rows{random({kHidden}, 3), fresh({kTokens}), fresh({kTokens}), {}, {}, "rms_norm"};
        rows.rule.kind = kind;
        rows.rule.gain = rows.gain.values<float>();
        rows.statistics.rstd = rows.rstd.values<float>();
        if (kind == ops::NormKind::layer) {
            rows.statistics.mean = rows.mean.values<float>();
            rows.name = "layer_norm";
        }
        return rows;
    }

    void norm(ops::NormKind kind) {
        const Tensor x = random({kTokens, kHidden}, 1);
        const Tensor residual = random({kTokens, kHidden}, 2);
        Tensor sum = fresh({kTokens, kHidden});
        Tensor y = fresh({kTokens, kHidden});
        const NormRows rows = norm_rows(kind);
        time(
            "residual + " + rows.name, "forward", 4.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] {
                ops::add_norm(
                    rows.rule,
                    {x.matrix<float>(), residual.matrix<float>(), sum.matrix<float>(), y.matrix<float>()},
                    rows.statistics, context());
            },
            [&] {
                std::vector<float> expected(at(kTokens * kHidden));
                ops::ref::norm(rows.rule, std::as_const(sum).matrix<float>(),
                               {expected.data(), kTokens, kHidden});
                return largest_error(y.values<float>(), expected);
            });
    }

    void norm_backward(ops::NormKind kind) {
        const Tensor x = random({kTokens, kHidden}, 1);
        const Tensor dy = random({kTokens, kHidden}, 2);
        Tensor y = fresh({kTokens, kHidden});
        Tensor dx = fresh({kTokens, kHidden});
        Tensor dgain = fresh({kHidden});
        const NormRows rows = norm_rows(kind);
        ops::norm(rows.rule, x.matrix<float>(), y.matrix<float>(), rows.statistics, context());
        const ops::NormBackward in{x.matrix<float>(),
                                   {rows.statistics.rstd, rows.statistics.mean},
                                   dy.matrix<float>(),
                                   ops::Write::overwrite,
                                   kSequence};
        time(
            rows.name, "backward", 3.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] {
                ops::norm_backward(rows.rule, in, dx.matrix<float>(),
                                   {{dgain.values<float>().data(), nullptr, 1, kHidden, nullptr}, {}},
                                   context());
            },
            [&] {
                std::vector<float> expected(at(kTokens * kHidden));
                std::vector<double> expected_gain(at(kHidden));
                ops::ref::norm_backward(rows.rule, in, {expected.data(), kTokens, kHidden}, expected_gain,
                                        {});
                return largest_error(dx.values<float>(), expected);
            });
    }

    /// Blocks of an activation on all threads, here from memory, not from cache.
    void activation(ops::Activation kind) {
        const Tensor gate = random({kTokens, kHidden}, 1);
        const Tensor up = random({kTokens, kHidden}, 2);
        Tensor h = fresh({kTokens, kHidden});
        const bool gated = ops::is_gated(kind);
        const auto rows_of = [&](Range rows, MatrixView<float> out) {
            ops::Activate<float> block;
            block.kind = kind;
            if (gated) block.gate = gate.matrix<float>().rows_of(rows);
            block.up = up.matrix<float>().rows_of(rows);
            block.h = out.rows_of(rows);
            return block;
        };
        time(
            std::string(ops::activation_name(kind)), "forward",
            (gated ? 3.0 : 2.0) * kTokens * kHidden * kFloat, 1e-5,
            [&] {
                context().team.for_ranges(kTokens, 8, [&](index_t begin, index_t end) {
                    ops::activate(rows_of({begin, end}, h.matrix<float>()));
                });
            },
            [&] {
                std::vector<float> expected(at(kTokens * kHidden));
                ops::ref::activate(rows_of({0, kTokens}, {expected.data(), kTokens, kHidden}));
                return largest_error(h.values<float>(), expected);
            });
        activation_backward(kind);
    }

    void activation_backward(ops::Activation kind) {
        const Tensor gate = random({kTokens, kHidden}, 1);
        const Tensor up = random({kTokens, kHidden}, 2);
        const Tensor dh = random({kTokens, kHidden}, 3);
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
        Tensor got = fresh({gated ? 3 : 2, kTokens, kHidden});
        time(
            std::string(ops::activation_name(kind)), "backward",
            (gated ? 6.0 : 4.0) * kTokens * kHidden * kFloat, 1e-5,
            [&] {
                context().team.for_ranges(kTokens, 8, [&](index_t begin, index_t end) {
                    ops::activate_backward(rows_of({begin, end}, got));
                });
            },
            [&] {
                Tensor expected = fresh({gated ? 3 : 2, kTokens, kHidden});
                ops::ref::activate_backward(rows_of({0, kTokens}, expected));
                return largest_error(got.values<float>(), expected.values<float>());
            });
    }

    void bias() {
        Tensor y = random({kTokens, kHidden}, 1);
        const Tensor dy = random({kTokens, kHidden}, 2);
        const Tensor bias = random({kHidden}, 3);
        time(
            "bias", "forward", 2.0 * kTokens * kHidden * kFloat, 0.0,
            [&] { ops::add_bias(bias.values<float>(), y.matrix<float>(), context()); },
            [&] {
                Tensor got = fresh({kTokens, kHidden});
                got.fill_zero();
                ops::add_bias(bias.values<float>(), got.matrix<float>(), context());
                double error = 0.0;
                for (index_t t = 0; t < kTokens; ++t) {
                    if (!std::ranges::equal(got.matrix<float>().row_span(t), bias.values<float>()))
                        error = HUGE_VAL;
                }
                return error;
            });
        std::vector<float> gradient(at(kHidden));
        const GradientView view{gradient.data(), nullptr, 1, kHidden, nullptr};
        time(
            "bias", "backward", 1.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] { ops::bias_backward(dy.matrix<float>(), kSequence, view, context()); },
            [&] {
                std::ranges::fill(gradient, 0.0F);
                ops::bias_backward(dy.matrix<float>(), kSequence, view, context());
                std::vector<double> sums(at(kHidden));
                ops::ref::bias_backward(dy.matrix<float>(), std::span(sums));
                const std::vector<float> expected(sums.begin(), sums.end());
                return largest_error(gradient, expected);
            });
    }

    void positions() {
        const Tensor table = random({kSequence, kHidden}, 1);
        Tensor x = random({kTokens, kHidden}, 2);
        std::vector<std::int32_t> position(at(kTokens));
        for (index_t t = 0; t < kTokens; ++t) position[at(t)] = static_cast<std::int32_t>(t % kSequence);
        time(
            "positions of a table", "forward", 2.0 * kTokens * kHidden * kFloat, 0.0,
            [&] { ops::add_positions(table.matrix<float>(), position, x.matrix<float>(), context()); },
            [&] {
                Tensor got = fresh({kTokens, kHidden});
                got.fill_zero();
                ops::add_positions(table.matrix<float>(), position, got.matrix<float>(), context());
                double error = 0.0;
                for (index_t t = 0; t < kTokens; ++t) {
                    if (!std::ranges::equal(got.matrix<float>().row_span(t),
                                            table.matrix<float>().row_span(position[at(t)])))
                        error = HUGE_VAL;
                }
                return error;
            });
    }

    void rotary(const std::string& name, ops::RotaryPairs pairs) {
        Tensor x = random({kTokens, kHidden}, 1);
        const ops::RotaryRule rule{kHeadWidth, 10000.0, pairs};
        const ops::RotaryTable table(kSequence, rule);
        std::vector<std::int32_t> position(at(kTokens));
        for (index_t t = 0; t < kTokens; ++t) position[at(t)] = static_cast<std::int32_t>(t % kSequence);
        const auto rotate = [&](Tensor& values) {
            ops::rotary(values.matrix<float>(), kHeadWidth, position, table, ops::Direction::forward,
                        context());
        };
        time(
            name, "forward", 2.0 * kTokens * kHidden * kFloat, 1e-5, [&] { rotate(x); },
            [&] {
                Tensor got = random({kTokens, kHidden}, 2);
                Tensor expected = random({kTokens, kHidden}, 2);
                rotate(got);
                ops::ref::rotary(expected.matrix<float>(), kHeadWidth, position, rule,
                                 ops::Direction::forward);
                return largest_error(got.values<float>(), expected.values<float>());
            });
    }

    /// @param rules  of the shape; its sizes are those of the benchmark
    void attention(const std::string& name, const ops::AttentionShape& rules) {
        ops::AttentionShape shape = rules;
        shape.num_sequences = kTokens / kSequence;
        shape.seq_len = kSequence;
        shape.heads = shape.kv_heads = kHidden / kHeadWidth;
        shape.head_dim = kHeadWidth;
        shape.scale = 0.125F;
        const Tensor q = random({kTokens, kHidden}, 1);
        const Tensor k = random({kTokens, kHidden}, 2);
        const Tensor v = random({kTokens, kHidden}, 3);
        Tensor out = fresh({kTokens, kHidden});
        Tensor lse = fresh({kTokens, shape.heads});
        time(
            name, "forward", 4.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] {
                ops::attention(shape, q.matrix<float>(), k.matrix<float>(), v.matrix<float>(),
                               out.matrix<float>(), lse.matrix<float>(), context());
            },
            [&] {
                std::vector<float> expected(at(kTokens * kHidden));
                ops::ref::attention(shape, q.matrix<float>(), k.matrix<float>(), v.matrix<float>(),
                                    {expected.data(), kTokens, kHidden});
                return largest_error(out.values<float>(), expected);
            });
        const Tensor dout = random({kTokens, kHidden}, 4);
        Tensor gradients = fresh({3, kTokens, kHidden});
        Tensor expected = fresh({3, kTokens, kHidden});
        const auto operands = [&](Tensor& target) {
            float* const data = target.values<float>().data();
            constexpr index_t kEach = kTokens * kHidden;
            return ops::AttentionBackward{q.matrix<float>(),
                                          k.matrix<float>(),
                                          v.matrix<float>(),
                                          std::as_const(out).matrix<float>(),
                                          std::as_const(lse).matrix<float>(),
                                          dout.matrix<float>(),
                                          {data, kTokens, kHidden},
                                          {data + kEach, kTokens, kHidden},
                                          {data + 2 * kEach, kTokens, kHidden}};
        };
        time(
            name, "backward", 8.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] { ops::attention_backward(shape, operands(gradients), context()); },
            [&] {
                ops::ref::attention_backward(shape, operands(expected));
                return largest_error(gradients.values<float>(), expected.values<float>());
            });
    }

    void dropout() {
        const Tensor x = random({kTokens, kHidden}, 1);
        Tensor y = fresh({kTokens, kHidden});
        const RandomKey key{.purpose = RandomPurpose::dropout};
        time(
            "dropout", "forward", 2.0 * kTokens * kHidden * kFloat, 1e-6,
            [&] { ops::dropout(x.matrix<float>(), key, 0, 0.1F, y.matrix<float>(), context()); },
            [&] {
                Tensor expected = fresh({kTokens, kHidden});
                ops::ref::dropout(x.matrix<float>(), key, 0, 0.1F, expected.matrix<float>());
                return largest_error(y.values<float>(), expected.values<float>());
            });
    }

    void soft_cap() {
        const Tensor x = random({kTokens, kVocabulary}, 1);
        Tensor y = fresh({kTokens, kVocabulary});
        Tensor expected = fresh({kTokens, kVocabulary});
        time(
            "soft cap of logits", "forward", 2.0 * kTokens * kVocabulary * kFloat, 1e-6,
            [&] { ops::soft_cap(x.matrix<float>(), 2.0F, y.matrix<float>(), context()); },
            [&] {
                ops::ref::soft_cap(x.matrix<float>(), 2.0F, expected.matrix<float>());
                return largest_error(y.values<float>(), expected.values<float>());
            });
        time(
            "soft cap of logits", "backward", 3.0 * kTokens * kVocabulary * kFloat, 1e-5,
            [&] { ops::soft_cap_backward(x.matrix<float>(), 2.0F, y.matrix<float>(), context()); },
            [&] {
                Tensor got = random({kTokens, kVocabulary}, 2);
                Tensor wanted = random({kTokens, kVocabulary}, 2);
                ops::soft_cap_backward(x.matrix<float>(), 2.0F, got.matrix<float>(), context());
                ops::ref::soft_cap_backward(x.matrix<float>(), 2.0F, wanted.matrix<float>());
                return largest_error(got.values<float>(), wanted.values<float>());
            });
    }

    void cross_entropy() {
        Tensor logits = random({kTokens, kVocabulary}, 1);
        std::vector<std::int32_t> target(at(kTokens));
        for (index_t t = 0; t < kTokens; ++t) target[at(t)] = static_cast<std::int32_t>(t % kVocabulary);
        std::vector<float> loss(at(kTokens));
        // Without a scale the logits stay, and the operation reads them once.
        time(
            "softmax + cross entropy", "forward", 1.0 * kTokens * kVocabulary * kFloat, 1e-5,
            [&] { ops::softmax_xent(logits.matrix<float>(), target, 0.0F, loss, context()); },
            [&] {
                std::vector<float> expected(at(kTokens));
                ops::ref::softmax_xent(logits.matrix<float>(), target, 0.0F, expected);
                return largest_error(loss, expected);
            });
    }

    void gate() {
        const Tensor logits = random({kTokens, kExperts}, 1);
        Tensor scores = fresh({kTokens, kExperts});
        Tensor lse = fresh({kTokens});
        Tensor expert = fresh({kTokens, kTopK}, DType::i32);
        Tensor weight = fresh({kTokens, kTopK});
        time(
            "router softmax", "forward", 2.0 * kTokens * kExperts * kFloat, 1e-5,
            [&] {
                ops::gate_scores(ops::Score::softmax, logits.matrix<float>(), scores.matrix<float>(),
                                 lse.values<float>(), context());
            },
            [&] {
                Tensor expected = fresh({kTokens, kExperts});
                ops::ref::gate_scores(ops::Score::softmax, logits.matrix<float>(), expected.matrix<float>(),
                                      lse.values<float>());
                return largest_error(scores.values<float>(), expected.values<float>());
            });
        time(
            "router top-6 of 64", "forward", kTokens * (kExperts + 2.0 * kTopK) * kFloat, 1e-5,
            [&] {
                ops::gate_top_k(std::as_const(scores).matrix<float>(), expert.matrix<std::int32_t>(),
                                context());
                ops::gate_weights({std::as_const(scores).matrix<float>(),
                                   std::as_const(expert).matrix<std::int32_t>(), ops::Renormalise::yes, 1.0F},
                                  weight.matrix<float>(), context());
            },
            [&] {
                Tensor choice = fresh({kTokens, kTopK}, DType::i32);
                Tensor expected = fresh({kTokens, kTopK});
                ops::ref::gate_top_k(std::as_const(scores).matrix<float>(), choice.matrix<std::int32_t>());
                ops::ref::gate_weights(
                    {std::as_const(scores).matrix<float>(), std::as_const(choice).matrix<std::int32_t>(),
                     ops::Renormalise::yes, 1.0F},
                    expected.matrix<float>());
                const bool same = std::ranges::equal(std::as_const(choice).values<std::int32_t>(),
                                                     std::as_const(expert).values<std::int32_t>());
                return same ? largest_error(weight.values<float>(), expected.values<float>()) : HUGE_VAL;
            });
    }

    void rows() {
        constexpr index_t kSlots = kTokens * kTopK;
        const Tensor x = random({kTokens, kHidden}, 1);
        const Tensor slots = random({kSlots, kHidden}, 2);
        std::vector<std::int32_t> source(at(kSlots));
        std::vector<std::int32_t> slot(at(kSlots));
        std::vector<index_t> offsets(at(kTokens + 1));
        for (index_t i = 0; i < kSlots; ++i) {
            source[at(i)] = static_cast<std::int32_t>(i * 2654435761 % kTokens);
            slot[at(i)] = static_cast<std::int32_t>((i * 40503 + 7) % kSlots);
        }
        for (index_t t = 0; t <= kTokens; ++t) offsets[at(t)] = t * kTopK;
        Tensor gathered = fresh({kSlots, kHidden});
        time(
            "gathering of rows", "dispatch", 2.0 * kSlots * kHidden * kFloat, 0.0,
            [&] {
                ops::gather_rows(x.matrix<float>(), std::span<const std::int32_t>(source),
                                 gathered.matrix<float>(), context());
            },
            [&] {
                double error = 0.0;
                for (index_t i = 0; i < kSlots; ++i) {
                    const auto got = std::as_const(gathered).matrix<float>().row_span(i);
                    const auto expected = x.matrix<float>().row_span(source[at(i)]);
                    if (!std::ranges::equal(got, expected)) error = HUGE_VAL;
                }
                return error;
            });
        Tensor sums = fresh({kTokens, kHidden});
        time(
            "summing of six rows a token", "combine", (kSlots + 1.0 * kTokens) * kHidden * kFloat, 1e-6,
            [&] {
                ops::sum_rows(slots.matrix<float>(), offsets, slot, ops::Into::overwrite,
                              sums.matrix<float>(), context());
            },
            [&] {
                Tensor expected = fresh({kTokens, kHidden});
                ops::ref::sum_rows(slots.matrix<float>(), offsets, slot, ops::Into::overwrite,
                                   expected.matrix<float>());
                return largest_error(sums.values<float>(), expected.values<float>());
            });
    }

    void embedding() {
        const Tensor table = random({kVocabulary, kHidden}, 1);
        const Tensor dout = random({kTokens, kHidden}, 2);
        std::vector<std::int32_t> ids(at(kTokens));
        for (index_t t = 0; t < kTokens; ++t)
            ids[at(t)] = static_cast<std::int32_t>(t * 2654435761 % kVocabulary);
        Tensor gradient = fresh({kVocabulary, kHidden});
        const GradientView view{gradient.values<float>().data(), nullptr, kVocabulary, kHidden, nullptr};
        time(
            "embedding", "backward", 3.0 * kTokens * kHidden * kFloat, 1e-5,
            [&] { ops::embedding_backward(ids, dout.matrix<float>(), view, context()); },
            [&] {
                gradient.fill_zero();
                ops::embedding_backward(ids, dout.matrix<float>(), view, context());
                std::vector<double> sums(at(kVocabulary * kHidden));
                ops::ref::embedding_backward(ids, dout.matrix<float>(),
                                             MatrixView<double>(sums.data(), kVocabulary, kHidden));
                const std::vector<float> expected(sums.begin(), sums.end());
                return largest_error(gradient.values<float>(), expected);
            });
    }

    void adamw() {
        constexpr index_t kCount = index_t{8} << 20;
        const ops::AdamwStep rule{.lr = 1e-3F, .weight_decay = 0.1F, .gradient_scale = 0.5F, .step = 3};
        struct State {
            Tensor weight, m, v, gradient;
        };
        const auto state = [&] {
            State fresh_state{random({kCount}, 2), fresh({kCount}), fresh({kCount}), random({kCount}, 1)};
            fresh_state.m.fill_zero();
            fresh_state.v.fill_zero();
            return fresh_state;
        };
        const auto operands = [&](State& of) {
            return ops::AdamwOperands{of.weight.values<float>(),
                                      of.m.values<float>(),
                                      of.v.values<float>(),
                                      of.gradient.values<float>(),
                                      {}};
        };
        State timed = state();
        time(
            "AdamW, 8 Mi parameters", "update", 7.0 * kCount * kFloat, 1e-5,
            [&] { ops::adamw(operands(timed), rule, context()); },
            [&] {
                State got = state();
                State expected = state();
                ops::adamw(operands(got), rule, context());
                ops::ref::adamw(operands(expected), rule);
                return largest_error(got.weight.values<float>(), expected.weight.values<float>());
            });
    }

    void casts_and_sums() {
        const Tensor x = random({kTokens, kHidden}, 1);
        Tensor y = random({kTokens, kHidden}, 2);
        Tensor rounded = fresh({kTokens, kHidden}, DType::bf16);
        time(
            "cast to bf16", "forward", 1.5 * kTokens * kHidden * kFloat, 0x1p-8,
            [&] { ops::cast(x.matrix<float>(), rounded.matrix<bf16>(), context()); },
            [&] {
                std::vector<float> got;
                for (const bf16 value : std::as_const(rounded).values<bf16>())
                    got.push_back(static_cast<float>(value));
                return largest_error(got, x.values<float>());
            });
        std::vector<double> sums(at(kTokens));
        time(
            "sums of squares by row", "gradient norm", 1.0 * kTokens * kHidden * kFloat, 1e-12,
            [&] { ops::row_sums_of_squares(x.matrix<float>(), sums, context()); },
            [&] {
                double expected = 0.0;
                for (const float value : x.values<float>())
                    expected += static_cast<double>(value) * static_cast<double>(value);
                return std::fabs(std::accumulate(sums.begin(), sums.end(), 0.0) / expected - 1.0);
            });
        time(
            "addition", "elementwise", 3.0 * kTokens * kHidden * kFloat, 0.0,
            [&] { ops::add(x.matrix<float>(), y.matrix<float>(), context()); },
            [&] {
                const Tensor before = random({kTokens, kHidden}, 3);
                Tensor got = random({kTokens, kHidden}, 3);
                ops::add(x.matrix<float>(), got.matrix<float>(), context());
                double error = 0.0;
                for (std::size_t i = 0; i < at(kTokens * kHidden); ++i) {
                    const float expected = x.values<float>()[i] + before.values<float>()[i];
                    if (got.values<float>()[i] != expected) error = HUGE_VAL;
                }
                return error;
            });
    }

    const BenchOptions& options_;
    Machine machine_;
    Report& report_;
    double bandwidth_;
};

}  // namespace

void operations(const BenchOptions& options, Report& report) {
    Operations(options, report).all();
}

}  // namespace sy::runtime::bench
