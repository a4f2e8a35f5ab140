#include "kernels/ops/top_tokens/top_tokens.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

using Bytes = std::vector<std::uint8_t>;

/// The whole choice, as a rank that is alone makes it.
Bytes take(const TestMatrix& scores, index_t count, int threads) {
    TestSession session(threads);
    PerExpert<ops::TokenThreshold> thresholds(scores.cols, {0, count});
    std::vector<index_t> storage(static_cast<std::size_t>(scores.cols * ops::kKeyDigits), 7);
    const MatrixView<index_t> counts(storage.data(), scores.cols, ops::kKeyDigits);
    for (int shift = 24; shift >= 0; shift -= 8) {
        ops::count_key_digits(scores.view(), thresholds, shift, counts, session.context);
        for (index_t e = 0; e < scores.cols; ++e) {
            index_t digit = 255;
            for (; counts(e, digit) < thresholds[e].ties; --digit) thresholds[e].ties -= counts(e, digit);
            thresholds[e].key = thresholds[e].key << 8 | static_cast<std::uint64_t>(digit);
        }
    }
    Bytes taken(scores.values.size(), 9);
    ops::take_top_tokens(scores.view(), thresholds, PerExpert<index_t>(scores.cols, 0),
                         MatrixView(taken.data(), scores.rows, scores.cols), session.context);
    return taken;
}

}  // namespace

TEST_CASE("top tokens: every expert takes its best, of equal scores the lower tokens", "[unit]") {
    const index_t experts = GENERATE(1, 5, 64);
    const index_t count = GENERATE(1, 3, 20, 40);
    TestMatrix scores(40, experts, 1);
    // Few distinct values of both signs, so that ties are everywhere.
    for (float& score : scores.values) score = std::round(score * 2.0F) * 0.5F;
    Bytes wanted(scores.values.size());
    ops::ref::take_top_tokens(scores.view(), count, {wanted.data(), 40, experts});
    const Bytes got = take(scores, count, 1);
    CHECK(got == wanted);
    CHECK(take(scores, count, 3) == got);
}

TEST_CASE("top tokens: those of lower ranks that are equal go first", "[unit]") {
    TestSession session;
    const TestMatrix zeros(4, 1);
    PerExpert<ops::TokenThreshold> thresholds(1, {0x80000000U, 3});
    Bytes taken(4);
    ops::take_top_tokens(zeros.view(), thresholds, PerExpert<index_t>(1, 1), MatrixView(taken.data(), 4, 1),
                         session.context);
    CHECK(taken == Bytes{1, 1, 0, 0});
}

TEST_CASE("top tokens: a token lists its takers by score, then by number", "[unit]") {
    TestSession session(2);
    TestMatrix scores(3, 4);
    scores.values = {0.1F, 0.5F, 0.5F, 0.2F, -0.0F, 0.0F, 9.0F, 1.0F, 4.0F, 3.0F, 2.0F, 1.0F};
    const Bytes taken{1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0};
    std::vector<std::int32_t> expert(9, 7);
    const MatrixView<const std::uint8_t> rows{taken.data(), 3, 4};
    ops::list_takers(scores.view(), rows, MatrixView(expert.data(), 3, 3), session.context);
    CHECK(expert == std::vector<std::int32_t>{1, 2, 0, 3, 0, 1, -1, -1, -1});
    CHECK_THROWS_AS(ops::list_takers(scores.view(), rows, MatrixView(expert.data(), 3, 2), session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::list_takers(scores.view(), rows.rows_of({0, 2}), MatrixView(expert.data(), 3, 3),
                                     session.context),
                    ShapeError);
}
