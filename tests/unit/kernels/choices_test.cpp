// What is done with choices of experts besides choosing them.
#include <catch2/catch.hpp>

#include "kernels/ops/gate/gate.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

using Experts = std::vector<std::int32_t>;

MatrixView<const std::int32_t> rows_of_two(const Experts& expert) {
    return {expert.data(), static_cast<index_t>(expert.size()) / 2, 2};
}

}  // namespace

TEST_CASE("gate: without scores every choice weighs the same, and none weighs nothing", "[unit]") {
    TestSession session;
    const Experts expert{3, -1, 0, 2};
    TestMatrix weight(2, 2);
    ops::gate_weights({{}, rows_of_two(expert), ops::Renormalise::no, 1.5F}, weight.view(), session.context);
    CHECK(weight.values == std::vector<float>{1.5F, 0.0F, 1.5F, 1.5F});
    TestMatrix wanted(2, 2);
    ops::ref::gate_weights({{}, rows_of_two(expert), ops::Renormalise::no, 1.5F}, wanted.view());
    CHECK(weight.values == wanted.values);
}

TEST_CASE("gate: a second choice goes out where the token's number lies below twice its weight", "[unit]") {
    constexpr index_t kTokens = 200;
    const RandomKey key{4, 2, 1, RandomPurpose::second_choice};
    TestSession session(3);
    Experts expert;
    TestMatrix weight(kTokens, 2);
    for (index_t t = 0; t < kTokens; ++t) {
        expert.insert(expert.end(), {static_cast<std::int32_t>(t), static_cast<std::int32_t>(t) + 1});
        weight.view()(t, 1) = 0.0045F * static_cast<float>(t);
    }
    const auto draw = [&](index_t begin) {
        Experts sent(static_cast<std::size_t>(2 * (kTokens - begin)), -9);
        ops::gate_draw_second(rows_of_two(expert).rows_of({begin, kTokens}),
                              weight.view().rows_of({begin, kTokens}), {key, 30 + begin, 1.5},
                              MatrixView(sent.data(), kTokens - begin, 2), session.context);
        return sent;
    };
    const Experts sent = draw(0);
    index_t stayed = 0;
    for (index_t t = 0; t < kTokens; ++t) {
        const auto i = static_cast<std::size_t>(2 * t);
        const auto u = static_cast<double>(uniform(key, static_cast<std::uint64_t>(30 + t)));
        const bool goes = u < 2.0 * static_cast<double>(weight.values[i + 1]) / 1.5;
        REQUIRE(sent[i] == expert[i]);
        REQUIRE(sent[i + 1] == (goes ? expert[i + 1] : -1));
        stayed += goes ? 0 : 1;
    }
    CHECK((stayed > 20 && stayed < kTokens - 20));
    CHECK(draw(77) == Experts(sent.begin() + 2 * 77, sent.end()));
    CHECK_THROWS_AS(ops::gate_draw_second(MatrixView(expert.data(), kTokens, 1), weight.view(), {key, 0, 1.0},
                                          MatrixView(expert.data(), kTokens, 2), session.context),
                    ShapeError);
}

TEST_CASE("gate: the routing hash adds up over parts and changes with every decision", "[unit]") {
    constexpr index_t kTokens = 150;
    TestSession session(3);
    Experts expert;
    std::vector<std::uint8_t> kept;
    for (std::int32_t i = 0; i < 2 * kTokens; ++i) {
        expert.push_back(i % 7 == 3 ? -1 : i * 5 % 11);
        kept.push_back(i % 3 == 0 ? 0 : 1);
    }
    const auto hash = [&](index_t begin, index_t end, index_t layer = 2, index_t shift = 0) {
        std::int64_t sum = 1;
        ops::routing_hash(rows_of_two(expert).rows_of({begin, end}),
                          std::span(kept).subspan(static_cast<std::size_t>(2 * begin),
                                                  static_cast<std::size_t>(2 * (end - begin))),
                          layer, begin + shift, MatrixView(&sum, 1, 1), session.context);
        return static_cast<std::uint64_t>(sum);
    };
    const std::uint64_t whole = hash(0, kTokens);
    // By hand, as metrics of earlier runs have it.
    const Experts one{5, -1};
    const std::vector<std::uint8_t> both{1, 1};
    std::int64_t of_one = 0;
    ops::routing_hash(rows_of_two(one), both, 3, 17, MatrixView(&of_one, 1, 1), session.context);
    CHECK(static_cast<std::uint64_t>(of_one) == 0xeeb5f9f29c7d5966ULL);
    CHECK(hash(0, 61) + hash(61, kTokens) == whole);
    CHECK(hash(0, kTokens, 3) != whole);
    CHECK(hash(0, kTokens, 2, 1) != whole);
    kept[3] ^= 1U;  // of no choice
    CHECK(hash(0, kTokens) == whole);
    kept[4] ^= 1U;
    CHECK(hash(0, kTokens) != whole);
    kept[4] ^= 1U;
    std::swap(expert[4], expert[5]);
    CHECK(hash(0, kTokens) != whole);
    CHECK_THROWS_AS(ops::routing_hash(rows_of_two(expert), std::span(kept).first(3), 2, 0,
                                      MatrixView(&of_one, 1, 1), session.context),
                    ShapeError);
}
