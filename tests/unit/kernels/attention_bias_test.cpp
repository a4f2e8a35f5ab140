// Position biases from their definitions and the authors' numbers, and which probabilities dropout drops.
#include <catch2/catch.hpp>

#include "tests/unit/kernels/attention_case.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Visibility;
using test::AttentionCase;
using test::TestMatrix;
using test::TestSession;

namespace {

std::vector<index_t> buckets(Range distances, index_t num_buckets, index_t max_distance,
                             Visibility visibility) {
    std::vector<index_t> result;
    for (index_t d = distances.begin; d < distances.end; ++d)
        result.push_back(ops::t5_bucket(d, num_buckets, max_distance, visibility));
    return result;
}

/// [bucket, how many in a row], as numbers.
std::vector<index_t> unrolled(const std::vector<std::pair<index_t, index_t>>& runs) {
    std::vector<index_t> result;
    for (const auto& [bucket, count] : runs)
        result.insert(result.end(), static_cast<std::size_t>(count), bucket);
    return result;
}

}  // namespace

TEST_CASE("alibi: slopes of powers of two are powers, others borrow from the next", "[unit]") {
    CHECK(ops::alibi_slopes(1) == std::vector<float>{0x1p-8F});
    CHECK(ops::alibi_slopes(8) ==
          std::vector<float>{0x1p-1F, 0x1p-2F, 0x1p-3F, 0x1p-4F, 0x1p-5F, 0x1p-6F, 0x1p-7F, 0x1p-8F});
    const std::vector<float> sixteen = ops::alibi_slopes(16);
    for (std::size_t h = 0; h < 16; ++h)
        CHECK(sixteen[h] == Approx(std::pow(2.0, -0.5 * (static_cast<double>(h) + 1.0))).epsilon(1e-7));
    // The authors' get_slopes(12): those of 8, then 0.7071, 0.3536, 0.1768, 0.0884.
    const std::vector<float> twelve = ops::alibi_slopes(12);
    REQUIRE(twelve.size() == 12);
    for (std::size_t h = 0; h < 8; ++h) CHECK(twelve[h] == ops::alibi_slopes(8)[h]);
    for (std::size_t h = 8; h < 12; ++h) CHECK(twelve[h] == sixteen[2 * (h - 8)]);
    CHECK(twelve[8] == Approx(0.70710678).epsilon(1e-7));
    CHECK_THROWS_AS(ops::alibi_slopes(0), ShapeError);
}

TEST_CASE("t5: buckets are those of transformers", "[unit]") {
    // T5Attention._relative_position_bucket of transformers 4.46.3, 32 buckets, max_distance 128, both directions.
    CHECK(buckets({-140, 1}, 32, 128, Visibility::all) == unrolled({{15, 50},
                                                                    {14, 27},
                                                                    {13, 18},
                                                                    {12, 14},
                                                                    {11, 9},
                                                                    {10, 7},
                                                                    {9, 4},
                                                                    {8, 4},
                                                                    {7, 1},
                                                                    {6, 1},
                                                                    {5, 1},
                                                                    {4, 1},
                                                                    {3, 1},
                                                                    {2, 1},
                                                                    {1, 1},
                                                                    {0, 1}}));
    CHECK(buckets({1, 141}, 32, 128, Visibility::all) == unrolled({{17, 1},
                                                                   {18, 1},
                                                                   {19, 1},
                                                                   {20, 1},
                                                                   {21, 1},
                                                                   {22, 1},
                                                                   {23, 1},
                                                                   {24, 4},
                                                                   {25, 4},
                                                                   {26, 7},
                                                                   {27, 9},
                                                                   {28, 14},
                                                                   {29, 18},
                                                                   {30, 27},
                                                                   {31, 50}}));
    // The same for a decoder.
    CHECK(buckets({-140, 3}, 32, 128, Visibility::causal) ==
          unrolled({{31, 28}, {30, 14}, {29, 12}, {28, 10}, {27, 10}, {26, 8}, {25, 7}, {24, 6},
                    {23, 6},  {22, 5},  {21, 4},  {20, 4},  {19, 3},  {18, 3}, {17, 2}, {16, 3},
                    {15, 1},  {14, 1},  {13, 1},  {12, 1},  {11, 1},  {10, 1}, {9, 1},  {8, 1},
                    {7, 1},   {6, 1},   {5, 1},   {4, 1},   {3, 1},   {2, 1},  {1, 1},  {0, 3}}));
    // 8 buckets, max_distance 20.
    CHECK(buckets({-24, 25}, 8, 20, Visibility::all) ==
          unrolled({{3, 18}, {2, 5}, {1, 1}, {0, 1}, {5, 1}, {6, 5}, {7, 18}}));
    CHECK(buckets({-24, 2}, 8, 20, Visibility::causal) ==
          unrolled({{7, 11}, {6, 5}, {5, 3}, {4, 2}, {3, 1}, {2, 1}, {1, 1}, {0, 2}}));
}

TEST_CASE("t5: buckets that cannot be are refused", "[unit]") {
    CHECK_THROWS_AS(ops::t5_bucket(1, 1, 128, Visibility::causal), ShapeError);
    CHECK_THROWS_AS(ops::t5_bucket(1, 2, 128, Visibility::all), ShapeError);
    CHECK_THROWS_AS(ops::t5_bucket(1, 7, 128, Visibility::all), ShapeError);
    CHECK_THROWS_AS(ops::t5_bucket(1, 8, 4, Visibility::causal), ShapeError);
    CHECK(ops::t5_bucket(-9, 2, 2, Visibility::causal) == 1);
    CHECK(ops::t5_bucket(9, 4, 2, Visibility::all) == 3);
}

TEST_CASE("attention: with queries of zero ALiBi's weights fall by a factor a token", "[unit]") {
    const auto visibility = GENERATE(Visibility::causal, Visibility::all);
    TestSession session(1);
    AttentionCase got({.num_sequences = 1,
                       .seq_len = 40,
                       .heads = 1,
                       .kv_heads = 1,
                       .head_dim = 40,
                       .visibility = visibility});
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    std::fill(got.v.values.begin(), got.v.values.end(), 0.0F);
    for (index_t j = 0; j < 40; ++j) got.v.view()(j, j) = 1.0F;
    got.slopes = {static_cast<float>(std::log(2.0))};
    got.forward(session.context);
    for (index_t i = 0; i < 40; ++i) {
        const index_t end = visibility == Visibility::all ? 40 : i + 1;
        double sum = 0.0;
        for (index_t j = 0; j < end; ++j) sum += std::exp2(-static_cast<double>(std::abs(i - j)));
        for (index_t j = 0; j < 40; ++j) {
            const double wanted = j < end ? std::exp2(-static_cast<double>(std::abs(i - j))) / sum : 0.0;
            CHECK(got.out.view()(i, j) == Approx(wanted).epsilon(3e-6));
        }
    }
}

TEST_CASE("attention: a T5 table of equal rows changes nothing, and gets a gradient that sums to zero",
          "[unit]") {
    TestSession session(1);
    AttentionCase plain({2, 90, 4, 2, 12, 0.3F});
    AttentionCase biased = plain;
    biased.use_table(8, 40);
    std::fill(biased.table.values.begin(), biased.table.values.end(), 1.25F);
    plain.run(session.context);
    biased.run(session.context);
    CHECK(test::relative_error(biased.out.values, plain.out.values) < 3e-6);
    CHECK(test::relative_error(biased.dq.values, plain.dq.values) < 1e-5);
    for (index_t head = 0; head < 4; ++head) {
        double sum = 0.0;
        double size = 0.0;
        for (index_t bucket = 0; bucket < 8; ++bucket) {
            sum += static_cast<double>(biased.dtable.view()(bucket, head));
            size += std::fabs(static_cast<double>(biased.dtable.view()(bucket, head)));
        }
        CHECK(size > 1.0);
        CHECK(std::fabs(sum) < 1e-5 * size);
    }
}

TEST_CASE("attention: a T5 table's row adds to the scores of its distances", "[unit]") {
    TestSession session(1);
    AttentionCase got({.num_sequences = 1, .seq_len = 30, .heads = 1, .kv_heads = 1, .head_dim = 30});
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    std::fill(got.v.values.begin(), got.v.values.end(), 0.0F);
    for (index_t j = 0; j < 30; ++j) got.v.view()(j, j) = 1.0F;
    got.use_table(8, 20);
    for (index_t bucket = 0; bucket < 8; ++bucket)
        got.table.view()(bucket, 0) = static_cast<float>(std::log(static_cast<double>(bucket) + 1.0));
    got.forward(session.context);
    for (index_t i = 0; i < 30; ++i) {
        double sum = 0.0;
        for (index_t j = 0; j <= i; ++j)
            sum += static_cast<double>(ops::t5_bucket(j - i, 8, 20, Visibility::causal) + 1);
        for (index_t j = 0; j <= i; ++j) {
            const auto weight = static_cast<double>(ops::t5_bucket(j - i, 8, 20, Visibility::causal) + 1);
            CHECK(got.out.view()(i, j) == Approx(weight / sum).epsilon(3e-6));
        }
    }
}

TEST_CASE("attention: a table's gradient may be unwanted", "[unit]") {
    TestSession session(2);
    AttentionCase wanted({2, 50, 4, 2, 12, 0.3F});
    wanted.use_table(8, 40);
    AttentionCase got = wanted;
    wanted.run(session.context);
    got.forward(session.context);
    ops::attention_backward(got.rules(), got.backward_operands(), session.context);
    CHECK(got.dq.values == wanted.dq.values);
    CHECK(got.dk.values == wanted.dk.values);
    CHECK(got.dtable.values == std::vector<float>(32, 0.0F));
}

TEST_CASE("attention: dropout drops the probabilities that its stream says, and scales the others",
          "[unit]") {
    TestSession session(2);
    constexpr index_t kLength = 70;
    AttentionCase got(
        {.num_sequences = 2,
         .seq_len = kLength,
         .heads = 2,
         .kv_heads = 1,
         .head_dim = kLength,
         .dropout = {.probability = 0.25F, .key = {.seed = 9, .step = 4}, .first_token = 1000}});
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    std::fill(got.v.values.begin(), got.v.values.end(), 0.0F);
    for (index_t row = 0; row < 2 * kLength; ++row) got.v.view()(row, row % kLength) = 1.0F;
    got.forward(session.context);
    index_t num_dropped = 0;
    for (index_t row = 0; row < 2 * kLength; ++row) {
        for (index_t head = 0; head < 2; ++head) {
            for (index_t j = 0; j <= row % kLength; ++j) {
                // Key counts are rounded up to 72, a multiple of the four words of a draw.
                const index_t element = ((1000 + row) * 2 + head) * 72 + j;
                const bool dropped = uniform({.seed = 9, .step = 4, .purpose = RandomPurpose::test},
                                             static_cast<std::uint64_t>(element)) < 0.25F;
                const double kept = 1.0 / 0.75 / static_cast<double>(row % kLength + 1);
                num_dropped += dropped ? 1 : 0;
                REQUIRE(got.out.view()(row, head * kLength + j) ==
                        Approx(dropped ? 0.0 : kept).epsilon(1e-6));
            }
        }
    }
    CHECK(num_dropped > 2200);
    CHECK(num_dropped < 2800);
}

TEST_CASE("attention: dropout of probability 0 changes no bit, and its key every one", "[unit]") {
    TestSession session(1);
    AttentionCase plain({1, 90, 2, 2, 12, 0.3F});
    AttentionCase none = plain;
    none.shape.dropout = {.probability = 0.0F, .key = {.seed = 3}, .first_token = 5};
    AttentionCase some = plain;
    some.shape.dropout = {.probability = 0.1F, .key = {.seed = 3}, .first_token = 5};
    AttentionCase other = some;
    other.shape.dropout.key.step = 1;
    for (AttentionCase* at : {&plain, &none, &some, &other}) at->run(session.context);
    CHECK(none.same_bits(plain));
    CHECK_FALSE(some.same_bits(plain));
    CHECK_FALSE(some.same_bits(other));
    CHECK(some.lse.values == plain.lse.values);
}
