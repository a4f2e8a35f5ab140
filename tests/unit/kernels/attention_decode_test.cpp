// Decoding under attention's rules: a new token against a cache, and against a fixed memory.
#include <catch2/catch.hpp>

#include <numeric>

#include "tests/unit/kernels/attention_case.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Visibility;
using test::AttentionCase;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr index_t kCapacity = 140;

std::vector<index_t> first_caches(index_t count) {
    std::vector<index_t> caches(static_cast<std::size_t>(count));
    std::iota(caches.begin(), caches.end(), index_t{0});
    return caches;
}

/// Decodes the last query of caches of these lengths, whose rows are those of `at`.
TestMatrix decode(const AttentionCase& at, const TestMatrix& queries, const std::vector<index_t>& lengths,
                  const Context& context) {
    TestMatrix out(queries.rows, at.out.cols, 99);
    const Range rows{0, queries.rows * kCapacity};
    const std::vector<index_t> caches = first_caches(queries.rows);
    ops::attention_decode(at.rules(), queries.view(), at.k.view().rows_of(rows), at.v.view().rows_of(rows),
                          {caches, lengths, kCapacity}, out.view(), context);
    return out;
}

/// Rows `row[b]` of matrix b of a stack of kCapacity rows each.
TestMatrix rows_of(const TestMatrix& x, const std::vector<index_t>& row) {
    TestMatrix result(static_cast<index_t>(row.size()), x.cols);
    for (index_t b = 0; b < result.rows; ++b)
        std::copy_n(x.view().row(b * kCapacity + row[static_cast<std::size_t>(b)]), x.cols,
                    result.view().row(b));
    return result;
}

}  // namespace

TEST_CASE("attention: under every causal rule decode is the last row of forward", "[unit]") {
    const auto threads = GENERATE(1, 3);
    TestSession session(threads);
    for (test::AttentionVariant variant : test::attention_variants()) {
        variant.rules.dropout = {};
        if (variant.rules.visibility == Visibility::all) continue;
        INFO(variant.name);
        AttentionCase cache = case_of(variant, 4, kCapacity);
        // A generation is one document.
        cache.first_keys.clear();
        cache.run_reference();
        const std::vector<index_t> last{0, 44, 64, kCapacity - 1};
        const std::vector<index_t> lengths{1, 45, 65, kCapacity};
        const TestMatrix queries = rows_of(cache.q, last);
        // Rows beyond a cache's length, and before its window, hold anything.
        for (index_t b = 0; b < 4; ++b) {
            const index_t length = lengths[static_cast<std::size_t>(b)];
            const index_t window = cache.shape.window == 0 ? kCapacity : cache.shape.window;
            for (index_t s = 0; s < kCapacity; ++s) {
                if (s < length && s >= length - window) continue;
                for (float& x : cache.k.view().row_span(b * kCapacity + s)) x = std::nanf("");
                for (float& x : cache.v.view().row_span(b * kCapacity + s)) x = std::nanf("");
            }
        }
        CHECK(relative_error(decode(cache, queries, lengths, session.context).values,
                             rows_of(cache.out, last).values) < 3e-6);
    }
}

TEST_CASE("attention: decode has the bits of forward, from any cache and in any order", "[unit]") {
    TestSession session(2);
    for (test::AttentionVariant variant : test::attention_variants()) {
        variant.rules.dropout = {};
        if (variant.rules.visibility == Visibility::all) continue;
        INFO(variant.name);
        AttentionCase at = case_of(variant, 2, kCapacity);
        at.first_keys.clear();
        TestMatrix lse(at.q.rows, at.shape.heads);
        ops::attention(at.rules(), at.q.view(), at.k.view(), at.v.view(), at.out.view(), lse.view(),
                       session.context);
        std::vector<index_t> caches;
        std::vector<index_t> lengths;
        for (index_t length = kCapacity; length > 0; --length) {
            for (const index_t cache : {index_t{1}, index_t{0}}) {
                caches.push_back(cache);
                lengths.push_back(length);
            }
        }
        const auto count = static_cast<index_t>(lengths.size());
        TestMatrix queries(count, at.q.cols);
        TestMatrix wanted(count, at.out.cols);
        for (index_t i = 0; i < count; ++i) {
            const auto place = static_cast<std::size_t>(i);
            const index_t row = caches[place] * kCapacity + lengths[place] - 1;
            std::copy_n(at.q.view().row(row), at.q.cols, queries.view().row(i));
            std::copy_n(at.out.view().row(row), at.out.cols, wanted.view().row(i));
        }
        TestMatrix got(count, at.out.cols, 99);
        ops::attention_decode(at.rules(), queries.view(), at.k.view(), at.v.view(),
                              {caches, lengths, kCapacity}, got.view(), session.context);
        CHECK(test::same_bits(got.values, wanted.values));
    }
}

TEST_CASE("attention: a single new token has the bits of forward, however its heads are split over threads",
          "[unit]") {
    const auto threads = GENERATE(1, 2, 3, 8);
    TestSession session(threads);
    for (const index_t head_dim : {index_t{10}, index_t{64}, index_t{76}, index_t{200}}) {
        AttentionCase at({.num_sequences = 1,
                          .seq_len = kCapacity,
                          .heads = 10,
                          .kv_heads = 5,
                          .head_dim = head_dim,
                          .scale = 0.1F,
                          .value_dim = head_dim + 6});
        at.forward(session.context);
        for (const index_t length : {index_t{1}, index_t{64}, index_t{66}, kCapacity}) {
            INFO("heads " << head_dim << " wide, " << length << " keys, " << threads << " threads");
            const std::vector<index_t> last{length - 1};
            const TestMatrix got = decode(at, rows_of(at.q, last), {length}, session.context);
            CHECK(test::same_bits(got.values, rows_of(at.out, last).values));
        }
    }
}

TEST_CASE("attention: decode of a fixed memory is a forward of one query", "[unit]") {
    TestSession session(2);
    for (const float soft_cap : {0.0F, 0.75F}) {
        AttentionCase memory({.num_sequences = 3,
                              .seq_len = 1,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 10,
                              .scale = 0.3F,
                              .key_len = kCapacity,
                              .value_dim = 7,
                              .visibility = Visibility::all,
                              .soft_cap = soft_cap});
        const std::vector<index_t> lengths{1, 77, kCapacity};
        const TestMatrix got = decode(memory, memory.q, lengths, session.context);
        for (index_t b = 0; b < 3; ++b) {
            AttentionCase one = memory;
            one.shape.num_sequences = 1;
            one.shape.key_len = lengths[static_cast<std::size_t>(b)];
            const Range keys{b * kCapacity, b * kCapacity + one.shape.key_len};
            std::vector<float> wanted(28);
            ops::ref::attention(one.shape, memory.q.view().rows_of({b, b + 1}), memory.k.view().rows_of(keys),
                                memory.v.view().rows_of(keys), {wanted.data(), 1, 28});
            const auto row = got.view().row_span(b);
            CHECK(relative_error(row, std::span<const float>(wanted)) < 3e-6);
        }
    }
}

TEST_CASE("attention: a single latent head is keys and values at once", "[unit]") {
    TestSession session(1);
    AttentionCase at({.num_sequences = 2,
                      .seq_len = kCapacity,
                      .heads = 3,
                      .kv_heads = 1,
                      .head_dim = 20,
                      .scale = 0.2F,
                      .value_dim = 16});
    for (index_t row = 0; row < 2 * kCapacity; ++row)
        std::copy_n(at.k.view().row(row), 16, at.v.view().row(row));
    const std::vector<index_t> lengths{9, kCapacity};
    const TestMatrix queries = rows_of(at.q, {8, kCapacity - 1});
    const TestMatrix wanted = decode(at, queries, lengths, session.context);
    TestMatrix got(2, 48, 99);
    ops::attention_decode(at.shape, queries.view(), at.k.view(), at.k.view(),
                          {first_caches(2), lengths, kCapacity}, got.view(), session.context);
    CHECK(test::same_bits(got.values, wanted.values));
}

TEST_CASE("attention: decode refuses what makes no sense for a new token", "[unit]") {
    TestSession session(1);
    const auto refused = [&](const auto& spoil) {
        AttentionCase bad(
            {.num_sequences = 1, .seq_len = kCapacity, .heads = 4, .kv_heads = 2, .head_dim = 8});
        const TestMatrix query(1, 32, 1);
        CHECK_NOTHROW(decode(bad, query, {5}, session.context));
        spoil(bad);
        CHECK_THROWS_AS(decode(bad, query, {5}, session.context), ShapeError);
    };
    refused([](AttentionCase& bad) { bad.shape.dropout.probability = 0.1F; });
    refused([](AttentionCase& bad) { bad.shape.value_dim = 7; });
    refused([](AttentionCase& bad) { bad.shape.window = -1; });
    refused([](AttentionCase& bad) { bad.shape.soft_cap = -1.0F; });
    refused([](AttentionCase& bad) { bad.slopes = {0.5F}; });
    refused([](AttentionCase& bad) {
        bad.use_alibi();
        bad.shape.visibility = Visibility::all;
    });
    refused([](AttentionCase& bad) {
        bad.use_table(8, 40);
        bad.shape.visibility = Visibility::all;
    });
}
