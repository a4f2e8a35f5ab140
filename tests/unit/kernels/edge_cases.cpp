#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ops/bodies.hpp"
#include "tests/unit/kernels/operation_cases.hpp"

// Sides that no vector and no block of threads fits, rows that are apart and not aligned, and values that are no numbers.
namespace sy::test {
namespace {

using Case = OperationCase;
using Integers = std::vector<std::int32_t>;

struct Sides {
    index_t rows;
    index_t cols;
};
constexpr std::array kSides{Sides{0, 5}, Sides{1, 1},    Sides{3, 7},  Sides{5, 16},
                            Sides{2, 0}, Sides{2, 1100}, Sides{70, 33}};

/// As many columns of wider rows, from the second on.
template <class Ref>
Ref apart(Ref wider) {
    return wider.cols_of({1, wider.cols()});
}

/// Index lists of a few of so many rows, each some times.
Integers some_of(index_t rows) {
    Integers list;
    for (index_t i = 0; rows > 0 && i < rows + 2; ++i)
        list.push_back(static_cast<std::int32_t>((i * 7 + 3) % rows));
    return list;
}

void elementwise(Case& on) {
    for (const auto [rows, cols] : kSides) {
        const ConstTensorRef x = apart(on.awkward(rows, cols + 1));
        const TensorRef y = on.zeros(rows, cols), z = apart(on.zeros(rows, cols + 1));
        ops::copy(x, z, on.context);
        ops::clip(z, 0.5F, on.context);
        ops::clip_backward(z, 0.5F, z, on.context);
        on.expect(z);
        ops::copy(x, y, on.context);
        ops::sigmoid(y, on.context);
        on.expect(y);
        ops::soft_cap(x, 3.0F, z, on.context);
        on.expect(z);
        ops::add(x, on.normal(rows, cols), z, on.context);
        ops::scale(-0.25F, z, on.context);
        ops::scale_rows(on.normal(1, rows), z, y, on.context);
        on.expect(y);
        ops::clear(z, on.context);
        ops::fill(-2.0F, z.rows_of({0, rows / 2}), on.context);
        on.expect(z);
        const TensorRef narrow = apart(on.zeros(rows, cols + 1, DType::bf16));
        ops::cast(x, narrow, on.context);
        ops::cast(narrow, y, on.context);
        on.expect(narrow);
        on.expect(y);
        ops::normal_cdf(x, y, on.context);
        on.expect(y);
    }
}

void activations(Case& on) {
    const ConstTensorRef x = on.awkward(5, 19);
    for (const ops::Activation kind : ops::kActivations) {
        if (ops::is_gated(kind)) continue;
        const TensorRef y = on.zeros(5, 19), dx = on.zeros(5, 19);
        ops::nonlinearity(kind, x, y, on.context);
        on.expect(y);
        ops::nonlinearity_backward(kind, {x, on.normal(5, 19), y, dx}, on.context);
        on.expect(y);
        on.expect(dx);
    }
}

void normalisation(Case& on) {
    for (const auto [rows, cols] : kSides) {
        if (cols == 0) continue;
        for (const ops::NormKind kind : {ops::NormKind::rms, ops::NormKind::layer}) {
            const bool centred = kind == ops::NormKind::layer;
            const ops::Norm rule{kind, on.normal(1, cols), centred ? on.normal(1, cols) : TensorRef()};
            const ConstTensorRef x = apart(on.normal(rows, cols + 1));
            const TensorRef y = on.zeros(rows, cols), rstd = on.zeros(1, rows);
            const TensorRef mean = centred ? on.zeros(1, rows) : TensorRef();
            ops::norm(rule, x, y, {rstd, mean}, on.context);
            on.expect(y);
            on.expect(rstd);
            const ops::NormGradients gradients{on.gradient(1, cols, DType::i64),
                                               centred ? on.gradient(1, cols) : GradientRef()};
            ops::norm_backward(rule,
                               {.x = x,
                                .rstd = rstd,
                                .mean = mean,
                                .dy = on.normal(rows, cols),
                                .write = Write::overwrite,
                                .block_rows = 16},
                               y, gradients, on.context);
            on.expect(y);
            on.expect_rounded(gradients.gain);
        }
    }
}

void rows(Case& on) {
    for (const auto [rows, cols] : kSides) {
        const Integers list = some_of(rows);
        const auto count = static_cast<index_t>(list.size());
        const TensorRef out = on.zeros(count, cols);
        const ConstTensorRef x = apart(on.awkward(rows, cols + 1));
        ops::gather_rows(x, list, out, on.context);
        on.expect(out);
        const TensorRef narrow = on.zeros(rows, cols, DType::bf16);
        ops::cast(x, narrow, on.context);
        const TensorRef narrow_out = on.zeros(count, cols, DType::bf16);
        ops::gather_rows(narrow, list, narrow_out, on.context);
        ops::gather_rows(narrow, list, out, on.context);
        on.expect(narrow_out);
        on.expect(out);
        std::vector<index_t> places;
        for (index_t i = 0; i < count; ++i) places.push_back(2 * (count - 1 - i));
        const TensorRef spread = on.normal(2 * count, cols), narrow_spread = on.rounded(2 * count, cols);
        const TensorRef bytes = on.zeros(count, cols, DType::u8),
                        spread_bytes = on.zeros(2 * count, cols, DType::u8);
        ops::scatter_rows(out, places, spread, on.context);
        ops::scatter_rows(narrow_out, places, narrow_spread, on.context);
        ops::scatter_rows(bytes, places, spread_bytes, on.context);
        for (const TensorRef& all : {spread, narrow_spread, spread_bytes}) on.expect(all);
        std::vector<index_t> offsets;
        for (index_t r = 0; r <= rows; ++r) offsets.push_back(r * count / std::max<index_t>(rows, 1));
        const TensorRef sums = on.normal(rows, cols), narrow_sums = on.zeros(rows, cols, DType::bf16);
        ops::sum_rows(out.rows_of({0, count}), offsets, some_of(count), Write::add, sums, on.context);
        ops::sum_rows(narrow_out, offsets, some_of(count), Write::overwrite, narrow_sums, on.context);
        on.expect(sums);
        on.expect(narrow_sums);
        const TensorRef codes = on.zeros(rows, ops::quantized_row_bytes(cols), DType::u8);
        ops::quantize_rows(apart(on.normal(rows, cols + 1)), codes, on.context);
        ops::dequantize_rows(codes, list, narrow_out, on.context);
        on.expect(codes);
        on.expect(narrow_out);
        // Which codes a block without a finite scale has is left open.
        ops::quantize_rows(x, codes, on.context);
        ops::dequantize_rows(codes, list, out, on.context);
        on.expect(out);
    }
}

void products(Case& on) {
    for (const auto [m, n, k] : {std::array<index_t, 3>{1, 1, 1}, {0, 4, 3}, {65, 3, 17}, {7, 70, 0}}) {
        for (const ops::Transpose ta : {ops::Transpose::no, ops::Transpose::yes}) {
            const bool flips = ta == ops::Transpose::yes;
            const TensorRef c = apart(on.normal(m, n + 1));
            const ConstTensorRef a = flips ? on.normal(k, m) : on.normal(m, k);
            const ConstTensorRef b = flips ? on.normal(n, k) : on.normal(k, n);
            ops::multiply({a, ta, b, ta, c, flips ? Write::add : Write::overwrite}, on.context);
            on.expect(c);
        }
        const GradientRef fixed = on.gradient(m, n, DType::i64);
        ops::add_weight_gradient(on.rounded(k, m), on.rounded(k, n), 5, fixed, on.context);
        on.expect_rounded(fixed);
    }
}

void router(Case& on) {
    for (const auto [tokens, experts] : {Sides{0, 4}, Sides{1, 1}, Sides{9, 37}, Sides{3, 300}}) {
        for (const ops::Score kind : {ops::Score::softmax, ops::Score::sigmoid}) {
            const ConstTensorRef logits = on.coarse(tokens, experts);
            const TensorRef scores = on.zeros(tokens, experts), lse = on.zeros(1, tokens);
            ops::gate_scores(kind, logits, scores, lse, on.context);
            on.expect(scores);
            on.expect(lse);
            const index_t choices = std::min<index_t>(experts, 5);
            // Logits, which are equal often, and not scores, whose last bits differ between devices.
            const TensorRef expert = on.zeros(tokens, choices, DType::i32);
            ops::gate_top_k(logits, expert, on.context);
            on.expect(expert);
            const TensorRef weight = on.zeros(tokens, choices);
            ops::gate_weights({.scores = scores, .expert = expert, .scale = 2.0F}, weight, on.context);
            on.expect(weight);
            const std::vector<float> dshare(static_cast<std::size_t>(experts), 0.125F);
            const TensorRef dlogits = on.zeros(tokens, experts);
            ops::gate_backward({.kind = kind,
                                .forward = {.scores = scores, .expert = expert, .scale = 2.0F},
                                .logits = logits,
                                .lse = lse,
                                .dweight = on.normal(tokens, choices),
                                .dshare = dshare,
                                .token_dshare = on.normal(tokens, experts),
                                .dlse = on.normal(1, tokens),
                                .dlogit = on.normal(tokens, experts)},
                               dlogits, on.context);
            on.expect(dlogits);
        }
    }
    const ConstTensorRef scores = on.coarse(12, 24);
    for (const index_t counted : {1, 2, 3}) {
        const TensorRef open = on.zeros(12, 24);
        ops::gate_limit_groups(scores, {.groups = 6, .limit = 2, .counted = counted}, open, on.context);
        on.expect(open);
    }
}

void losses(Case& on) {
    const TensorRef logits = on.normal(4, 1300, 4.0F), loss = on.zeros(1, 4), lse = on.zeros(1, 4);
    ops::softmax_xent(logits, Integers{1299, 0, -1, 700}, 0.25F, loss, {.scale = 0.01F, .lse = lse},
                      on.context);
    for (const TensorRef& values : {logits, loss, lse}) on.expect(values);
}

/// All that decides which keys a query sees, and what happens to scores.
void attention_rules(Case& on) {
    const std::vector<index_t> documents{0, 0, 0, 3, 3, 5, 5, 5, 5, 0, 1, 1, 1, 1, 5, 5, 5, 5};
    const std::vector<float> alibi = ops::alibi_slopes(4);
    ops::AttentionShape plain{
        .num_sequences = 2, .seq_len = 9, .heads = 4, .kv_heads = 2, .head_dim = 6, .scale = 0.4F};
    ops::AttentionShape window = plain, packed = plain, capped = plain, dropped = plain, slopes = plain,
                        bucketed = plain, crossed = plain;
    window.window = 3;
    packed.first_keys = documents;
    capped.soft_cap = 1.5F;
    dropped.dropout = {.probability = 0.25F, .first_token = 7};
    slopes.bias.slopes = alibi;
    bucketed.bias = {.table = on.normal(6, 4), .max_distance = 8};
    crossed.visibility = ops::Visibility::all;
    crossed.key_len = 131;
    crossed.value_dim = 5;
    for (const ops::AttentionShape& shape :
         {plain, window, packed, capped, dropped, slopes, bucketed, crossed}) {
        const index_t keys = 2 * shape.num_keys(), width = 4 * shape.value_width();
        const TensorRef q = on.normal(18, 24), k = on.normal(keys, 12), v = on.normal(keys, width / 2);
        const TensorRef out = on.zeros(18, width), lse = on.zeros(18, 4);
        ops::attention(shape, q, k, v, out, lse, on.context);
        on.expect(out);
        on.expect(lse);
        const TensorRef dq = on.zeros(18, 24), dk = on.zeros(keys, 12), dv = on.zeros(keys, width / 2);
        const GradientRef dtable = shape.bias.table.is_null() ? GradientRef() : on.gradient(6, 4);
        ops::attention_backward(shape, {q, k, v, out, lse, on.normal(18, width), dq, dk, dv, dtable},
                                on.context);
        for (const TensorRef& gradient : {dq, dk, dv}) on.expect(gradient);
        if (!dtable.is_null()) on.expect(dtable);
    }
}

/// Experts without slots, without a gate, and a dense feed-forward with biases.
void feed_forward(Case& on, ops::Activation kind, DType dtype) {
    const auto draw = [&](index_t rows, index_t cols) {
        return dtype == DType::f32 ? on.normal(rows, cols) : on.rounded(rows, cols);
    };
    const std::vector<index_t> offsets{0, 3, 3, 7}, blocks{0, 2, 3, 6, 7}, all{0, 7}, dense_blocks{0, 4, 7};
    const Integers row{0, 1, 4, 2, 3, 4, 0};
    constexpr index_t kHidden = 8, kInner = 12;
    const bool gated = ops::is_gated(kind),
               dense = kind == ops::Activation::gelu || kind == ops::Activation::geglu;
    const index_t experts = dense ? 1 : 3, inputs = dense ? 7 : 5;
    const ops::ExpertSlots slots = dense ? ops::ExpertSlots{all, {}, {}, dense_blocks}
                                         : ops::ExpertSlots{offsets, row, on.positive(1, 7), blocks};
    ops::ExpertWeights weights{.gate = gated ? draw(experts * kHidden, kInner) : TensorRef(),
                               .up = draw(experts * kHidden, kInner),
                               .down = draw(experts * kInner, kHidden),
                               .activation = kind};
    ops::ExpertGradients gradients;
    if (dense) {
        weights.biases = {gated ? on.normal(1, kInner) : TensorRef(), on.normal(1, kInner),
                          on.normal(1, kHidden)};
        gradients.biases = {gated ? on.gradient(1, kInner, DType::i64) : GradientRef(),
                            on.gradient(1, kInner, DType::i64), on.gradient(1, kHidden, DType::i64)};
    }
    const TensorRef x = draw(inputs, kHidden), out = on.zeros(7, kHidden);
    const ops::ExpertSaved saved{gated ? on.zeros(7, kInner, dtype) : TensorRef(),
                                 on.zeros(7, kInner, dtype)};
    ops::expert_ffn(x, weights, slots, saved, out, on.context);
    on.expect(out);
    if (!dense) {
        const TensorRef of_choices = on.zeros(3 * inputs, kHidden);
        ops::chosen_expert_ffn(x, weights, {on.integers(inputs, 3, {2, 0, 1, 1, -1}), on.positive(inputs, 3)},
                               of_choices, on.context);
        on.expect(of_choices);
    }
    std::vector<GradientRef> gate, up, down;
    for (index_t expert = 0; expert < experts; ++expert) {
        if (gated) gate.push_back(on.gradient(kHidden, kInner, DType::i64));
        up.push_back(on.gradient(kHidden, kInner, DType::i64));
        down.push_back(on.gradient(kInner, kHidden, DType::i64));
    }
    gradients.gate = gate;
    gradients.up = up;
    gradients.down = down;
    const TensorRef dx = on.zeros(7, kHidden), dweight = dense ? TensorRef() : on.zeros(1, 7);
    ops::expert_ffn_backward(x, weights, slots, {saved.gate, saved.up},
                             {draw(inputs, kHidden), dx, dweight, gradients}, on.context);
    on.expect(dx);
    if (!dense) on.expect(dweight);
    for (const GradientRef& gradient : up) on.expect_rounded(gradient);
    for (const GradientRef& gradient : down) on.expect_rounded(gradient);
    if (dense) on.expect_rounded(gradients.biases.down);
}

void feed_forwards(Case& on) {
    for (const ops::Activation kind : ops::kActivations) {
        feed_forward(on, kind, DType::bf16);
        if (!ops::is_gated(kind)) feed_forward(on, kind, DType::f32);
    }
}

/// Operations of rows with operands of the other type than above, and rows that are apart.
void other_types(Case& on) {
    const TensorRef x = on.rounded(6, 10), y = on.zeros(6, 10), narrow = on.zeros(6, 10, DType::bf16);
    ops::sum_rows(x, std::array<index_t, 3>{0, 2, 5}, Integers{4, 2, 0, 1, 5}, Write::add, y.rows_of({0, 2}),
                  on.context);
    ops::add_positions(on.normal(9, 10), Integers{8, 0, 3, 3, 1, 7}, y, on.context);
    const TensorRef second = on.normal(6, 10);
    ops::add_in_order(std::array<ConstTensorRef, 3>{on.normal(6, 10), y, second}, y, on.context);
    on.expect(y);
    ops::dropout_rows(x, {{.seed = 3}, 0.5F, std::array<index_t, 6>{4, 5, 9, 1, 0, 2}, {}}, narrow,
                      on.context);
    on.expect(narrow);
    const TensorRef codes = on.zeros(6, ops::quantized_row_bytes(10), DType::u8);
    ops::quantize_rows(x, codes, on.context);
    on.expect(codes);
    const TensorRef bytes = on.zeros(2, codes.cols() - 1, DType::u8);
    ops::gather_rows(codes.cols_of({1, codes.cols()}), Integers{5, 1}, bytes, on.context);
    on.expect(bytes);
    ops::clear(codes.cols_of({1, 4}), on.context);
    on.expect(codes);
    ops::clear(x.cols_of({3, 6}), on.context);
    on.expect(x);
    const TensorRef aligned = on.normal(4, 12);
    ops::clear(aligned.cols_of({4, 8}), on.context);
    on.expect(aligned);
    const GradientRef gradient = on.gradient(5, 7, DType::i64);
    ops::add_weight_gradient(on.normal(9, 5), on.normal(9, 7), 4, gradient, on.context);
    on.expect_rounded(gradient);
}

constexpr std::array kCases{NamedCase{"elements of any number", elementwise},
                            NamedCase{"activations of any number", activations},
                            NamedCase{"normalisation of any sides", normalisation},
                            NamedCase{"rows of any sides", rows},
                            NamedCase{"products of any sides", products},
                            NamedCase{"routers of any sides", router},
                            NamedCase{"losses of long rows", losses},
                            NamedCase{"rules of attention", attention_rules},
                            NamedCase{"feed-forwards of all kinds", feed_forwards},
                            NamedCase{"operands of other types", other_types}};

}  // namespace

std::span<const NamedCase> edge_cases() {
    return kCases;
}

}  // namespace sy::test
