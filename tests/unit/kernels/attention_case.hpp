#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/core/gradient.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "tests/support/session.hpp"

namespace sy::test {

/// Operands of one call of attention and everything it computes. The bias, when `slopes` or `table` are not empty, is
/// the case's own.
struct AttentionCase {
    ops::AttentionShape shape;
    index_t rows;
    index_t key_rows;
    TestMatrix q, k, v, dout, out, lse, dq, dk, dv;
    std::vector<float> slopes;
    std::vector<index_t> first_keys;
    TestMatrix table{0, 0};
    TestMatrix dtable{0, 0};
    std::vector<std::int64_t> fixed_dtable;  ///< what dtable is the float of, in `reproducible`

    explicit AttentionCase(const ops::AttentionShape& shape_, std::uint64_t stream = 10,
                           float deviation = 1.0F)
        : shape(shape_),
          rows(shape_.num_sequences * shape_.seq_len),
          key_rows(shape_.num_sequences * shape_.num_keys()),
          q(rows, shape_.heads * shape_.head_dim, stream, deviation),
          k(key_rows, shape_.kv_heads * shape_.head_dim, stream + 1, deviation),
          v(key_rows, shape_.kv_heads * shape_.value_width(), stream + 2),
          dout(rows, shape_.heads * shape_.value_width(), stream + 3),
          out(rows, shape_.heads * shape_.value_width(), 99),
          lse(rows, shape_.heads, 99),
          dq(rows, shape_.heads * shape_.head_dim, 99),
          dk(key_rows, shape_.kv_heads * shape_.head_dim, 99),
          dv(key_rows, shape_.kv_heads * shape_.value_width(), 99) {}

    void use_alibi() { slopes = ops::alibi_slopes(shape.heads); }
    void use_table(index_t buckets, index_t max_distance) {
        table = TestMatrix(buckets, shape.heads, 77);
        dtable = TestMatrix(buckets, shape.heads);
        fixed_dtable.assign(dtable.values.size(), 0);
        shape.bias.max_distance = max_distance;
    }

    /// Documents of which one begins at each multiple of `length` of the call's rows, and where a sequence does.
    void use_documents(index_t length) {
        for (index_t row = 0; row < rows; ++row) {
            const index_t begin =
                row % shape.seq_len == 0 || row % length == 0 ? row % shape.seq_len : first_keys.back();
            first_keys.push_back(begin);
        }
    }

    ops::AttentionShape rules() const {
        ops::AttentionShape result = shape;
        result.first_keys = first_keys;
        result.bias.slopes = std::span(slopes);
        if (table.rows > 0) result.bias.table = table.view();
        return result;
    }
    void forward(const Context& context) {
        ops::attention(rules(), q.view(), k.view(), v.view(), out.view(), lse.view(), context);
    }
    ops::AttentionBackward backward_operands() {
        return {q.view(),    k.view(),  v.view(),  out.view(), lse.view(),
                dout.view(), dq.view(), dk.view(), dv.view()};
    }
    /// Adds to dtable (or to fixed_dtable, whose float dtable then is).
    void run(const Context& context) {
        forward(context);
        ops::AttentionBackward operands = backward_operands();
        std::uint8_t overflow = 0;
        const bool fixed = context.numerics == NumericsMode::reproducible;
        if (table.rows > 0) {
            operands.dtable =
                GradientView{fixed ? nullptr : dtable.values.data(), fixed ? fixed_dtable.data() : nullptr,
                             table.rows, table.cols, &overflow};
        }
        ops::attention_backward(rules(), operands, context);
        if (table.rows > 0 && fixed) from_fixed_point(fixed_dtable, dtable.values);
    }
    void run_reference() {
        ops::ref::attention(rules(), q.view(), k.view(), v.view(), out.view());
        std::vector<double> sums(dtable.values.begin(), dtable.values.end());
        ops::ref::attention_backward(rules(), backward_operands(), sums);
        dtable.values.assign(sums.begin(), sums.end());
    }
    /// sum of out * dout, the loss whose gradients backward computes.
    double loss() const {
        double sum = 0.0;
        for (std::size_t i = 0; i < out.values.size(); ++i)
            sum += static_cast<double>(out.values[i]) * static_cast<double>(dout.values[i]);
        return sum;
    }
    bool same_bits(const AttentionCase& other) const {
        return out.values == other.out.values && lse.values == other.lse.values &&
               dq.values == other.dq.values && dk.values == other.dk.values && dv.values == other.dv.values &&
               dtable.values == other.dtable.values;
    }
};

/// A named set of rules, from the smallest shape that has them.
struct AttentionVariant {
    std::string name;
    void (*apply)(AttentionCase&);
    ops::AttentionShape rules{};
};

/// Sequences of `seq_len` under the variant's rules, with the bias and dropout it adds.
inline AttentionCase case_of(const AttentionVariant& variant, index_t num_sequences, index_t seq_len) {
    ops::AttentionShape shape = variant.rules;
    shape.num_sequences = num_sequences;
    shape.seq_len = seq_len;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.head_dim = 10;
    shape.scale = 0.3F;
    AttentionCase result(shape);
    if (variant.apply != nullptr) variant.apply(result);
    return result;
}

/// Every rule alone, and rules together.
inline std::vector<AttentionVariant> attention_variants() {
    using enum ops::Visibility;
    const auto alibi = [](AttentionCase& at) { at.use_alibi(); };
    const auto causal_table = [](AttentionCase& at) { at.use_table(8, 40); };
    const auto wide_table = [](AttentionCase& at) { at.use_table(12, 30); };
    const auto documents = [](AttentionCase& at) { at.use_documents(23); };
    const auto all_documents = [](AttentionCase& at) {
        at.use_documents(41);
        at.use_table(8, 40);
    };
    const ops::AttentionDropout some{.probability = 0.3F, .key = {.seed = 5, .layer = 2}, .first_token = 71};
    return {
        {"causal", nullptr, {}},
        {"all visible", nullptr, {.visibility = all}},
        {"fewer keys", nullptr, {.key_len = 37, .visibility = all}},
        {"more keys", nullptr, {.key_len = 150, .visibility = all}},
        {"window of 1", nullptr, {.window = 1}},
        {"window of 5", nullptr, {.window = 5}},
        {"window of 64", nullptr, {.window = 64}},
        {"window of 71", nullptr, {.window = 71}},
        {"narrow values", nullptr, {.value_dim = 7}},
        {"wide values", nullptr, {.value_dim = 24}},
        {"soft cap", nullptr, {.soft_cap = 0.75F}},
        {"ALiBi", alibi, {}},
        {"ALiBi, all visible", alibi, {.key_len = 50, .visibility = all}},
        {"ALiBi, window", alibi, {.window = 33}},
        {"T5", causal_table, {}},
        {"T5, all visible", wide_table, {.visibility = all}},
        {"T5, more keys", wide_table, {.key_len = 141, .visibility = all}},
        {"documents", documents, {}},
        {"documents, window", documents, {.value_dim = 7, .window = 9}},
        {"documents, window, cap, T5, dropout",
         all_documents,
         {.window = 30, .soft_cap = 1.0F, .dropout = some}},
        {"dropout", nullptr, {.dropout = some}},
        {"dropout, fewer keys", nullptr, {.key_len = 39, .visibility = all, .dropout = some}},
        {"window, cap, ALiBi, dropout",
         alibi,
         {.value_dim = 6, .window = 45, .soft_cap = 1.0F, .dropout = some}},
        {"window, cap, T5, dropout",
         causal_table,
         {.value_dim = 17, .window = 70, .soft_cap = 1.0F, .dropout = some}},
        {"all visible, cap, T5, dropout",
         wide_table,
         {.key_len = 83, .value_dim = 12, .visibility = all, .soft_cap = 2.0F, .dropout = some}},
    };
}

/// y += factor * x
inline void add_scaled(float factor, const TestMatrix& x, TestMatrix& y) {
    for (std::size_t i = 0; i < x.values.size(); ++i) y.values[i] += factor * x.values[i];
}

inline double inner(const TestMatrix& a, const TestMatrix& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i)
        sum += static_cast<double>(a.values[i]) * static_cast<double>(b.values[i]);
    return sum;
}

}  // namespace sy::test
