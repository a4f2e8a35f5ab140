#include "tests/unit/kernels/operation_cases.hpp"

#include <array>
#include <numeric>

#include "kernels/ops/bodies.hpp"

namespace sy::test {
namespace {

using Case = OperationCase;
using Integers = std::vector<std::int32_t>;
using Offsets = std::vector<index_t>;

constexpr index_t kTokens = 24;
constexpr index_t kExperts = 8;
constexpr index_t kWidth = 40;  // no multiple of a vector
constexpr index_t kSumWords{ExactSum::kNumWords};
const Integers kChoices{3, 5, 0, 7, 1, 6, 2, 4};

void products(Case& on) {
    const TensorRef product = on.zeros(kTokens, kWidth);
    ops::multiply({.a = on.normal(kTokens, 32), .b = on.normal(32, kWidth), .c = product}, on.context);
    on.expect(product);
    const GradientRef gradient = on.gradient(32, kWidth);
    ops::add_weight_gradient(on.rounded(kTokens, 32), on.rounded(kTokens, kWidth), 8, gradient, on.context);
    on.expect(gradient);
}

void feed_forward(Case& on) {
    constexpr index_t kHidden = 16, kInner = 32, kSlots = 10;
    const Offsets offsets{0, 4, kSlots};
    const Integers row{0, 1, 2, 5, 0, 3, 4, 5, 6, 7};
    const ops::ExpertSlots slots{offsets, row, on.positive(1, kSlots), {}};
    const ops::ExpertWeights weights{.gate = on.normal(2 * kHidden, kInner),
                                     .up = on.normal(2 * kHidden, kInner),
                                     .down = on.normal(2 * kInner, kHidden)};
    const TensorRef x = on.normal(8, kHidden), out = on.zeros(kSlots, kHidden);
    const ops::ExpertSaved saved{on.zeros(kSlots, kInner), on.zeros(kSlots, kInner)};
    ops::expert_ffn(x, weights, slots, saved, out, on.context);
    on.expect(out);
    const TensorRef of_choices = on.zeros(16, kHidden);
    ops::chosen_expert_ffn(x, weights, {on.integers(8, 2, {1, 0, 0, -1, 1, 1}), on.positive(8, 2)},
                           of_choices, on.context);
    on.expect(of_choices);
    // More choices of an expert, and in all, than a block of a device takes at a time.
    const TensorRef of_many = on.zeros(210, kHidden);
    ops::chosen_expert_ffn(on.normal(70, kHidden), weights,
                           {on.integers(70, 3, {1, 0, 0, -1, 1}), on.positive(70, 3)}, of_many, on.context);
    on.expect(of_many);
    const TensorRef dx = on.zeros(kSlots, kHidden), dweight = on.zeros(1, kSlots);
    const std::array<GradientRef, 2> gate{on.gradient(kHidden, kInner), on.gradient(kHidden, kInner)};
    const std::array<GradientRef, 2> up{on.gradient(kHidden, kInner), on.gradient(kHidden, kInner)};
    const std::array<GradientRef, 2> down{on.gradient(kInner, kHidden), on.gradient(kInner, kHidden)};
    ops::expert_ffn_backward(x, weights, slots, {saved.gate, saved.up},
                             {on.normal(8, kHidden), dx, dweight, {gate, up, down}}, on.context);
    on.expect(dx);
    on.expect(dweight);
    for (const GradientRef& gradient : {gate[0], up[1], down[1]}) on.expect(gradient);
}

void normalisation(Case& on) {
    const ops::Norm rule{ops::NormKind::layer, on.normal(1, kWidth), on.normal(1, kWidth)};
    const TensorRef x = on.normal(kTokens, kWidth), y = on.zeros(kTokens, kWidth);
    const TensorRef rstd = on.zeros(1, kTokens), mean = on.zeros(1, kTokens);
    ops::norm(rule, x, y, {rstd, mean}, on.context);
    on.expect(y);
    const TensorRef sum = on.zeros(kTokens, kWidth);
    ops::add_norm(rule, {x, on.normal(kTokens, kWidth), sum, y}, {rstd, mean}, on.context);
    on.expect(sum);
    on.expect(y);
    const TensorRef dx = on.normal(kTokens, kWidth);
    const ops::NormGradients gradients{on.gradient(1, kWidth), on.gradient(1, kWidth)};
    ops::norm_backward(rule, {.x = sum, .rstd = rstd, .mean = mean, .dy = on.normal(kTokens, kWidth)}, dx,
                       gradients, on.context);
    on.expect(dx);
    on.expect(gradients.gain);
    on.expect(gradients.bias);
}

void pointwise(Case& on) {
    const TensorRef x = on.normal(kTokens, kWidth), gradient = on.normal(kTokens, kWidth);
    ops::clip(x, 0.75F, on.context);
    ops::clip_backward(x, 0.75F, gradient, on.context);
    ops::sigmoid(x, on.context);
    ops::sigmoid_backward(x, gradient, on.context);
    const TensorRef y = on.zeros(kTokens, kWidth), dx = on.zeros(kTokens, kWidth);
    ops::nonlinearity(ops::Activation::gelu, gradient, y, on.context);
    on.expect(y);
    ops::nonlinearity_backward(ops::Activation::silu, {x, gradient, y, dx}, on.context);
    on.expect(y);
    on.expect(dx);
}

void biases_and_positions(Case& on) {
    const TensorRef y = on.zeros(kTokens, kWidth);
    ops::add_bias(on.normal(kTokens, kWidth), on.normal(1, kWidth), y, on.context);
    ops::add_bias(on.normal(1, kWidth), y, on.context);
    const GradientRef gradient = on.gradient(1, kWidth);
    ops::bias_backward(y, 8, gradient, on.context);
    on.expect(gradient);
    Integers position(kTokens);
    std::iota(position.begin(), position.end(), 0);
    const ops::RotaryTable table(kTokens, {.rotary_dim = 8});
    ops::rotary(y, 10, position, table, ops::Direction::forward, on.context);
    ops::add_positions(on.rounded(kTokens, kWidth), position, y, on.context);
    const List<std::int32_t> there(on.integers(1, kTokens, {4, 0, 3}));
    ops::rotary(y, 10, there, table, ops::Direction::backward, on.context);
    ops::rotary(y, 10, there, on.uploaded(kTokens, {.rotary_dim = 8}), ops::Direction::forward, on.context);
    ops::add_positions(on.rounded(kTokens, kWidth), there, y, on.context);
    on.expect(y);
    const TensorRef sines = on.zeros(kTokens, kWidth);
    ops::sine_table(sines, on.context);
    on.expect(sines);
}

void attention(Case& on) {
    const ops::AttentionShape shape{
        .num_sequences = 2, .seq_len = 12, .heads = 4, .kv_heads = 2, .head_dim = 8, .scale = 0.35F};
    const TensorRef q = on.normal(24, 32), k = on.normal(24, 16), v = on.normal(24, 16);
    const TensorRef out = on.zeros(24, 32), lse = on.zeros(24, 4);
    ops::attention(shape, q, k, v, out, lse, on.context);
    on.expect(out);
    const TensorRef dq = on.zeros(24, 32), dk = on.zeros(24, 16), dv = on.zeros(24, 16);
    ops::attention_backward(shape, {q, k, v, out, lse, on.normal(24, 32), dq, dk, dv}, on.context);
    for (const TensorRef& gradient : {dq, dk, dv}) on.expect(gradient);
    const Offsets cache{1, 0}, length{12, 5};
    const TensorRef next = on.zeros(2, 32);
    ops::attention_decode(shape, q.rows_of({0, 2}), k, v, {cache, length, 12}, next, on.context);
    on.expect(next);
    const ops::DecodeRows there{on.list({0, 1}), on.list({3, 12}), 12};
    ops::attention_decode(shape, q.rows_of({0, 2}), k, v, there, next, on.context);
    on.expect(next);
}

void heads(Case& on) {
    const ops::HeadWidths widths{.heads = 3, .plain = 5, .rotary = 2, .value = 4};
    const TensorRef k = on.zeros(kTokens, 21), v = on.zeros(kTokens, 12);
    ops::spread_heads(widths, on.normal(kTokens, widths.expanded()), on.normal(kTokens, 2), k, v, on.context);
    on.expect(k);
    on.expect(v);
    const TensorRef dexpanded = on.zeros(kTokens, widths.expanded()), drotary = on.zeros(kTokens, 2);
    ops::gather_heads(widths, k, v, dexpanded, drotary, on.context);
    on.expect(dexpanded);
    on.expect(drotary);
}

void embedding(Case& on) {
    const Integers ids{3, 1, 4, 1, 5};
    const TensorRef out = on.zeros(5, kWidth);
    ops::embedding(on.normal(6, kWidth), ids, out, on.context);
    on.expect(out);
    const List<std::int32_t> there(on.integers(1, 5, {5, 0, 2}));
    ops::embedding(on.normal(6, kWidth), there, out, on.context);
    on.expect(out);
    const GradientRef gradient = on.gradient(6, kWidth);
    ops::embedding_backward(ids, out, gradient, on.context);
    on.expect(gradient);
}

void head_of_a_model(Case& on) {
    const TensorRef x = on.normal(5, kWidth), capped = on.zeros(5, kWidth), loss = on.zeros(1, 5);
    ops::soft_cap(x, 2.0F, capped, on.context);
    ops::softmax_xent(capped, Integers{3, 1, -1, 39, 5}, 0.25F, loss, on.context);
    ops::soft_cap_backward(x, 2.0F, capped, on.context);
    on.expect(loss);
    on.expect(capped);
}

void gate(Case& on) {
    const TensorRef logits = on.normal(kTokens, kExperts), scores = on.zeros(kTokens, kExperts);
    const TensorRef lse = on.zeros(1, kTokens), expert = on.zeros(kTokens, 2, DType::i32);
    ops::gate_scores(ops::Score::sigmoid, logits, scores, lse, on.context);
    const TensorRef open = on.zeros(kTokens, kExperts), weight = on.zeros(kTokens, 2);
    ops::gate_limit_groups(scores, {.groups = 4, .limit = 2, .counted = 2}, open, on.context);
    ops::gate_top_k(open, expert, on.context);
    const ops::GateWeights weights{.scores = scores, .expert = expert};
    ops::gate_weights(weights, weight, on.context);
    const TensorRef sent = on.zeros(kTokens, 2, DType::i32);
    ops::gate_draw_second(expert, weight, {.key = {.seed = 1}}, sent, on.context);
    for (const TensorRef& values : {scores, lse, open, expert, weight, sent}) on.expect(values);
    const std::vector<std::uint8_t> kept(2 * kTokens, 1);
    const TensorRef hash = on.zeros(1, 1, DType::i64);
    ops::routing_hash(sent, kept, 1, 0, hash, on.context);
    on.expect(hash);
    const TensorRef dlogits = on.zeros(kTokens, kExperts);
    ops::gate_backward({.kind = ops::Score::sigmoid,
                        .forward = weights,
                        .logits = logits,
                        .lse = lse,
                        .dweight = on.normal(kTokens, 2),
                        .dlse = on.normal(1, kTokens)},
                       dlogits, on.context);
    on.expect(dlogits);
}

void rows(Case& on) {
    const TensorRef x = on.normal(kTokens, kWidth), gathered = on.zeros(4, kWidth);
    ops::gather_rows(x, Integers{7, 0, 7, 23}, gathered, on.context);
    on.expect(gathered);
    const TensorRef sum = on.normal(3, kWidth);
    ops::sum_rows(x, Offsets{0, 2, 2, 3}, Integers{4, 2, 9}, Write::add, sum, on.context);
    ops::scatter_rows(sum.rows_of({0, 2}), Offsets{2, 0}, gathered, on.context);
    ops::scatter_rows(sum.rows_of({2, 3}), on.list({3}), gathered, on.context);
    on.expect(gathered);
    on.expect(sum);
    const TensorRef codes = on.zeros(kTokens, ops::quantized_row_bytes(kWidth), DType::u8);
    ops::quantize_rows(x, codes, on.context);
    ops::dequantize_rows(codes, Integers{3, 22, 3, 1}, gathered, on.context);
    on.expect(codes);
    on.expect(gathered);
    ops::scale_rows(on.normal(1, 3), sum, sum, on.context);
    const TensorRef squares = on.zeros(1, 3, DType::f64);
    ops::row_sums_of_squares(sum, squares, on.context);
    on.expect(squares);
}

void elements(Case& on) {
    const TensorRef x = on.normal(kTokens, kWidth), y = on.zeros(kTokens, kWidth);
    const TensorRef narrow = on.zeros(kTokens, kWidth, DType::bf16);
    ops::copy(x, y, on.context);
    ops::add(x, y, on.context);
    ops::scale(0.75F, y, on.context);
    ops::cast(y, narrow, on.context);
    on.expect(y);
    on.expect(narrow);
    ops::clear(y.rows_of({1, 2}), on.context);
    ops::fill(3.0F, y.rows_of({2, 3}), on.context);
    on.expect(y);
    ops::dropout(x, {.seed = 2}, 5, 0.25F, y, on.context);
    on.expect(y);
    Offsets stream(kTokens);
    std::iota(stream.begin(), stream.end(), 11);
    ops::dropout_rows(x, {{.seed = 3}, 0.5F, stream, {}}, y, on.context);
    on.expect(y);
}

void optimizer(Case& on) {
    const TensorRef weight = on.normal(1, kWidth), m = on.zeros(1, kWidth), v = on.zeros(1, kWidth);
    const TensorRef rounded = on.zeros(1, kWidth, DType::bf16);
    const GradientRef fixed = on.gradient(2, kWidth, DType::i64);
    ops::embedding_backward(Integers{0, 1, 0}, on.normal(3, kWidth), fixed, on.context);
    on.expect(fixed);
    const TensorRef sum = fixed.sums.rows_of({0, 1});
    ops::add_in_order(std::array<ConstTensorRef, 2>{fixed.sums.rows_of({1, 2}), sum}, sum, on.context);
    const TensorRef gradient = on.zeros(1, kWidth), total = on.zeros(1, kWidth);
    ops::round_fixed_point(sum, gradient, on.context);
    on.expect(gradient);
    const std::array<ConstTensorRef, 3> addends{on.normal(1, kWidth), gradient, on.normal(1, kWidth)};
    ops::add_in_order(addends, total, on.context);
    ops::adamw({weight, m, v, total, rounded}, {.lr = 0.1F}, on.context);
    for (const TensorRef& values : {weight, m, v, rounded}) on.expect(values);
}

void random_numbers(Case& on) {
    const TensorRef x = on.zeros(1, kWidth), y = on.zeros(1, kWidth), z = on.zeros(1, kWidth);
    ops::fill_normal({.seed = 1}, 3, 0.5F, x, on.context);
    ops::fill_gumbel({.seed = 2}, 3, 0.5F, y, on.context);
    ops::jitter(x, {.seed = 3}, 7, 0.25F, z, on.context);
    for (const TensorRef& values : {x, y, z}) on.expect(values);
}

void noise(Case& on) {
    const TensorRef clean = on.normal(kTokens, kExperts), draws = on.normal(kTokens, kExperts);
    const TensorRef scale = on.normal(kTokens, kExperts), logits = on.zeros(kTokens, kExperts);
    ops::learned_noise(clean, draws, scale, logits, on.context);
    const TensorRef draw = on.zeros(kTokens, kExperts);
    ops::learned_noise_backward({draws, scale}, on.normal(kTokens, kExperts), {}, draw, on.context);
    for (const TensorRef& values : {scale, logits, draw}) on.expect(values);
    const TensorRef best = on.zeros(kTokens, 3, DType::i32), distance = on.zeros(kTokens, kExperts);
    ops::gate_top_k(logits, best, on.context);
    const ops::Chances chances{logits, clean, scale, best};
    ops::chance_distances(chances, distance, on.context);
    const TensorRef cdf = on.zeros(kTokens, kExperts), density = on.zeros(kTokens, kExperts);
    ops::normal_cdf(distance, cdf, on.context);
    ops::normal_density(distance, density, on.context);
    const ops::ChanceGradients gradients{on.zeros(kTokens, kExperts), on.zeros(kTokens, kExperts),
                                         on.zeros(kTokens, kExperts)};
    ops::chance_backward(chances, std::vector<float>(kExperts, 0.5F), distance, density, gradients,
                         on.context);
    for (const TensorRef& values : {cdf, density, gradients.clean, gradients.logits, gradients.scale})
        on.expect(values);
}

void balance(Case& on) {
    const TensorRef scores = on.positive(kTokens, kExperts), expert = on.integers(kTokens, 2, kChoices);
    const TensorRef value = on.normal(kTokens, 2);
    const TensorRef sums = on.zeros(2 * kExperts + 7, kSumWords, DType::i64);
    const auto part = [&](index_t first, index_t count) { return sums.rows_of({first, first + count}); };
    ops::share_sums(ops::Score::sigmoid, scores, part(0, kExperts), on.context);
    ops::choice_sums(expert, value, part(kExperts, kExperts), on.context);
    ops::count_reached(expert, 2, part(2 * kExperts, 4), on.context);
    ops::value_sum(value.as_matrix(1, 2 * kTokens), part(2 * kExperts + 4, 1), on.context);
    ops::square_sum(value.as_matrix(1, 2 * kTokens), part(2 * kExperts + 5, 1), on.context);
    ops::add_to_choices(expert, std::vector<float>(kExperts, 0.5F), value, on.context);
    ops::add_scaled(0.3, on.normal(1, kTokens), value.as_matrix(2, kTokens).rows_of({0, 1}), on.context);
    on.expect(value);
    const TensorRef frequency = on.zeros(3, kExperts, DType::f64), dshare = on.zeros(kTokens, kExperts);
    ops::sequence_frequencies(expert, 0.125, frequency, on.context);
    ops::sequence_sum(ops::Score::softmax, scores, frequency, part(2 * kExperts + 6, 1), on.context);
    ops::sequence_backward(0.5, frequency, dshare, on.context);
    on.expect(frequency);
    on.expect(dshare);
    on.expect_sums(sums);
}

void policy(Case& on) {
    const TensorRef logits = on.normal(kTokens, kExperts), keys = on.zeros(kTokens, kExperts);
    ops::policy_keys(logits, {.seed = 4}, 3, keys, on.context);
    const TensorRef advantage = on.zeros(1, kTokens, DType::f64), dbaseline = on.zeros(1, kTokens);
    ops::policy_advantage(
        {on.normal(kTokens, kWidth), on.normal(kWidth, 1), on.normal(1, 1), on.normal(1, kTokens)}, advantage,
        on.context);
    ops::policy_baseline_backward(0.5, advantage, dbaseline, on.context);
    const TensorRef dlogits = on.zeros(kTokens, kExperts);
    ops::policy_backward({.logits = logits,
                          .lse = on.positive(1, kTokens),
                          .draws = on.integers(kTokens, 2, kChoices),
                          .advantage = advantage,
                          .entropy_bonus = 0.1},
                         dlogits, on.context);
    for (const TensorRef& values : {keys, advantage, dbaseline, dlogits}) on.expect(values);
}

void assignments(Case& on) {
    const TensorRef logits = on.normal(kTokens, kExperts), powers = on.zeros(kTokens, kExperts);
    ops::sinkhorn_powers(logits, powers, on.context);
    on.expect(powers);
    const TensorRef columns = on.zeros(kExperts, kSumWords, DType::i64);
    const std::vector<double> factor(kExperts, 0.5);
    ops::sinkhorn_columns(on.positive(kTokens, kExperts), factor, columns, on.context);
    const TensorRef plan = on.zeros(kTokens, kExperts);
    ops::sinkhorn_log_plan(logits, factor, plan, on.context);
    on.expect(plan);
    on.expect_sums(columns);
    PerExpert<ops::TokenThreshold> thresholds(kExperts, {0, 3});
    const PerExpert<index_t> earlier(kExperts, 0);
    const TensorRef counts = on.zeros(kExperts, ops::kKeyDigits, DType::i64);
    ops::count_key_digits(logits, thresholds, ops::kKeyBits - ops::kKeyDigitBits, counts, on.context);
    for (index_t e = 0; e < kExperts; ++e) thresholds[e].key = std::uint64_t{0xBF} << 24;
    const TensorRef taken = on.zeros(kTokens, kExperts, DType::u8);
    ops::take_top_tokens(logits, thresholds, earlier, taken, on.context);
    const TensorRef expert = on.zeros(kTokens, kExperts, DType::i32);
    ops::list_takers(logits, taken, expert, on.context);
    for (const TensorRef& values : {counts, taken, expert}) on.expect(values);
}

constexpr std::array kCases{NamedCase{"products", products},
                            NamedCase{"feed-forward of experts", feed_forward},
                            NamedCase{"normalisation", normalisation},
                            NamedCase{"pointwise functions", pointwise},
                            NamedCase{"biases and positions", biases_and_positions},
                            NamedCase{"attention", attention},
                            NamedCase{"heads of latent attention", heads},
                            NamedCase{"embedding", embedding},
                            NamedCase{"head of a model", head_of_a_model},
                            NamedCase{"gate", gate},
                            NamedCase{"rows", rows},
                            NamedCase{"elements", elements},
                            NamedCase{"optimizer", optimizer},
                            NamedCase{"random numbers", random_numbers},
                            NamedCase{"noise of routers", noise},
                            NamedCase{"balance losses", balance},
                            NamedCase{"policy of a router", policy},
                            NamedCase{"assignments", assignments}};

}  // namespace

std::span<const NamedCase> operation_cases() {
    return kCases;
}

}  // namespace sy::test
