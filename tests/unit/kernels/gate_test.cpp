#include "kernels/ops/gate/gate.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Renormalise;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Scores {
    TestMatrix scores;
    std::vector<float> lse;
};

Scores softmax(const TestMatrix& logits, int threads = 1) {
    TestSession session(threads);
    Scores result{TestMatrix(logits.rows, logits.cols),
                  std::vector<float>(static_cast<std::size_t>(logits.rows))};
    ops::gate_scores(ops::Score::softmax, logits.view(), result.scores.view(),
                     host_operand(std::span(result.lse)), session.context);
    return result;
}

struct Choice {
    std::vector<std::int32_t> expert;
    TestMatrix weight;

    Choice(index_t tokens, index_t top_k)
        : expert(static_cast<std::size_t>(tokens * top_k), -9), weight(tokens, top_k) {}
    MatrixView<std::int32_t> experts() { return {expert.data(), weight.rows, weight.cols}; }
};

Choice choose(const TestMatrix& scores, index_t top_k, Renormalise renormalise, int threads = 1) {
    TestSession session(threads);
    Choice choice(scores.rows, top_k);
    ops::gate_top_k(scores.view(), choice.experts(), session.context);
    ops::gate_weights({scores.view(), choice.experts(), renormalise, 1.0F}, choice.weight.view(),
                      session.context);
    return choice;
}

std::vector<std::int32_t> choose_row(std::vector<float> row, index_t top_k) {
    TestMatrix scores(1, static_cast<index_t>(row.size()));
    scores.values = std::move(row);
    return choose(scores, top_k, Renormalise::no).expert;
}

}  // namespace

TEST_CASE("gate: scores agree with the reference and sum to 1", "[unit]") {
    const index_t tokens = GENERATE(0, 1, 31);
    const index_t experts = GENERATE(1, 2, 8, 16, 21, 64, 100, 512);
    const TestMatrix logits(tokens, experts, 1, 4.0F);
    const Scores got = softmax(logits, 2);
    TestMatrix wanted(tokens, experts);
    std::vector<float> lse(static_cast<std::size_t>(tokens));
    ops::ref::gate_scores(ops::Score::softmax, logits.view(), wanted.view(), lse);
    CHECK(relative_error(got.scores.values, wanted.values) < 1e-6);
    CHECK(relative_error(got.lse, lse) < 1e-6);
    for (index_t t = 0; t < tokens; ++t) {
        const auto row = got.scores.view().row_span(t);
        CHECK(std::accumulate(row.begin(), row.end(), 0.0) == Approx(1.0).epsilon(1e-6));
    }
}

TEST_CASE("gate: equal logits share equally, extreme ones do not overflow, in place is allowed", "[unit]") {
    TestMatrix logits(3, 20);
    std::fill_n(logits.values.begin(), 20, 1e4F);
    std::fill_n(logits.values.begin() + 20, 40, -kInfinity);
    logits.values[25] = 1e30F;
    logits.values[45] = 3.0F;
    logits.values[46] = 3.0F;
    const Scores got = softmax(logits);
    for (index_t e = 0; e < 20; ++e) CHECK(got.scores.view()(0, e) == 0.05F);
    CHECK(static_cast<double>(got.lse[0]) == Approx(1e4 + std::log(20.0)));
    CHECK(got.scores.view()(1, 5) == 1.0F);
    CHECK(got.scores.view()(1, 4) == 0.0F);
    CHECK(got.lse[1] == 1e30F);
    CHECK(got.scores.view()(2, 5) == 0.5F);
    CHECK(static_cast<double>(got.lse[2]) == Approx(3.0 + std::log(2.0)));
    TestSession session;
    std::vector<float> lse(3);
    ops::gate_scores(ops::Score::softmax, logits.view(), logits.view(), host_operand(std::span(lse)),
                     session.context);
    CHECK(test::same_bits(logits.values, got.scores.values));
}

TEST_CASE("gate: whatever its finite logits, a row has finite scores and gradients", "[unit]") {
    constexpr index_t kExperts = 20;
    const auto kind = GENERATE(ops::Score::softmax, ops::Score::sigmoid);
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    TestSession session;
    TestMatrix logits(7, kExperts);
    const float rows[] = {0.0F, -90.0F, 1e38F, -1e38F, -1e-40F, 0.0F, 0.0F};
    for (index_t t = 0; t < 7; ++t) std::ranges::fill(logits.view().row_span(t), rows[t]);
    logits.view()(5, 3) = 3e38F;       // one far above the others
    logits.view()(6, 3) = -kInfinity;  // one that cannot be chosen
    TestMatrix scores(7, kExperts);
    std::vector<float> lse(7);
    ops::gate_scores(kind, logits.view(), scores.view(), host_operand(std::span(lse)), session.context);
    Choice choice = choose(scores, 3, renormalise);
    // Groups and biases may force choices whose scores are 0.
    choice.expert[5 * 3 + 1] = 11;
    choice.expert[6 * 3 + 2] = 3;
    const TestMatrix dweight(7, 3, 2);
    const TestMatrix dense(7, kExperts, 3);
    const TestMatrix dlse(1, 7, 4);
    TestMatrix got(7, kExperts);
    TestMatrix wanted(7, kExperts);
    const ops::GateBackward in{.kind = kind,
                               .forward = {scores.view(), choice.experts(), renormalise, 1.0F},
                               .logits = logits.view(),
                               .lse = host_operand(std::span(lse)),
                               .dweight = dweight.view(),
                               .token_dshare = dense.view(),
                               .dlse = host_operand(std::span(dlse.values))};
    ops::gate_backward(in, got.view(), session.context);
    ops::ref::gate_backward(in, wanted.view());
    for (const float value : scores.values) CHECK(std::isfinite(value));
    for (const float value : lse) CHECK(std::isfinite(value));
    for (const float value : choice.weight.values) CHECK(std::isfinite(value));
    CHECK(relative_error(got.values, wanted.values) < 1e-5);
}

TEST_CASE("gate: a row without a finite logit is no distribution, and shows", "[unit]") {
    TestMatrix logits(1, 20);
    std::ranges::fill(logits.values, -kInfinity);
    for (const float score : softmax(logits).scores.values) CHECK(std::isnan(score));
    logits.values[4] = kInfinity;
    CHECK(std::isnan(softmax(logits).scores.values[4]));
}

TEST_CASE("gate: the choice agrees with a full stable sort", "[unit]") {
    const auto [experts, top_k] = GENERATE(table<index_t, index_t>(
        {{1, 1}, {2, 2}, {8, 2}, {31, 5}, {32, 6}, {33, 33}, {64, 6}, {257, 8}, {512, 16}}));
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    const index_t tokens = GENERATE(0, 1, 130);
    // Few distinct values, so that ties are everywhere.
    TestMatrix scores(tokens, experts, 3);
    for (float& score : scores.values) score = (std::floor(std::fabs(score) * 8.0F) + 1.0F) * 0.0625F;
    const Choice got = choose(scores, top_k, renormalise, 2);
    Choice wanted(tokens, top_k);
    ops::ref::gate_top_k(scores.view(), wanted.experts());
    ops::ref::gate_weights({scores.view(), wanted.experts(), renormalise, 1.0F}, wanted.weight.view());
    CHECK(got.expert == wanted.expert);
    CHECK(relative_error(got.weight.values, wanted.weight.values) < 1e-6);
}

TEST_CASE("gate: ties go to the lower expert, zeros of both signs are equal", "[unit]") {
    CHECK(choose_row({0.5F, 0.5F, 0.5F, 0.5F, 0.5F}, 3) == std::vector<std::int32_t>{0, 1, 2});
    CHECK(choose_row({0.1F, 0.7F, 0.2F, 0.7F, 0.9F}, 4) == std::vector<std::int32_t>{4, 1, 3, 2});
    CHECK(choose_row({-0.0F, 0.0F, -0.0F, 0.0F}, 3) == std::vector<std::int32_t>{0, 1, 2});
    CHECK(choose_row({-2.0F, -1.0F, -3.0F, -1.0F}, 4) == std::vector<std::int32_t>{1, 3, 0, 2});
    CHECK(choose_row({-kInfinity, 0.0F, kInfinity, 1.0F}, 4) == std::vector<std::int32_t>{2, 3, 1, 0});
    std::vector<float> row(100, 0.25F);
    row[99] = 0.5F;
    CHECK(choose_row(row, 3) == std::vector<std::int32_t>{99, 0, 1});
}

TEST_CASE("gate: a row of NaN still gives different experts within range", "[unit]") {
    for (const std::uint32_t bits : {0x7fc00000U, 0xffc00000U, 0xffffffffU}) {
        const auto chosen = choose_row(std::vector<float>(21, std::bit_cast<float>(bits)), 6);
        CHECK(std::set<std::int32_t>(chosen.begin(), chosen.end()).size() == 6);
        for (const std::int32_t expert : chosen) CHECK((expert >= 0 && expert < 21));
    }
}

TEST_CASE("gate: renormalised weights sum to 1 and keep their ratios", "[unit]") {
    const Scores scored = softmax(TestMatrix(40, 24, 1));
    const Choice plain = choose(scored.scores, 4, Renormalise::no);
    const Choice shared = choose(scored.scores, 4, Renormalise::yes);
    CHECK(plain.expert == shared.expert);
    for (index_t t = 0; t < 40; ++t) {
        const auto row = shared.weight.view().row_span(t);
        CHECK(std::accumulate(row.begin(), row.end(), 0.0) == Approx(1.0).epsilon(1e-6));
        CHECK(row[0] / row[3] == Approx(plain.weight.view()(t, 0) / plain.weight.view()(t, 3)).epsilon(1e-6));
        for (index_t j = 0; j < 4; ++j) {
            const index_t expert = plain.expert[static_cast<std::size_t>(t * 4 + j)];
            CHECK(plain.weight.view()(t, j) == scored.scores.view()(t, expert));
        }
    }
}

TEST_CASE("gate: backward agrees with the reference, with and without each part", "[unit]") {
    const index_t experts = GENERATE(2, 8, 21, 64, 512);
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    const bool has_dshare = GENERATE(false, true);
    const bool has_dlse = GENERATE(false, true);
    TestSession session(2);
    const Scores scored = softmax(TestMatrix(33, experts, 1));
    Choice choice = choose(scored.scores, 2, renormalise);
    const TestMatrix dweight(33, 2, 2);
    const TestMatrix dshare(1, experts, 3);
    const TestMatrix dlse(1, 33, 4);
    ops::GateBackward in{.forward = {scored.scores.view(), choice.experts(), renormalise, 1.0F},
                         .dweight = dweight.view()};
    if (has_dshare) in.dshare = dshare.values;
    if (has_dlse) in.dlse = host_operand(std::span(dlse.values));
    TestMatrix got(33, experts, 5);
    TestMatrix wanted(33, experts);
    ops::gate_backward(in, got.view(), session.context);
    ops::ref::gate_backward(in, wanted.view());
    // Two chosen of two, renormalised: the weights' part cancels but for rounding.
    CHECK(relative_error(got.values, wanted.values) <
          (experts == 2 && !has_dshare && !has_dlse ? 1e-4 : 3e-6));
}

TEST_CASE("gate: backward agrees with finite differences of softmax, choice, weights and both losses",
          "[unit]") {
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    constexpr std::size_t kTokens = 3;
    constexpr std::size_t kExperts = 19;
    constexpr std::size_t kTopK = 4;
    TestSession session;
    const TestMatrix logits(kTokens, kExperts, 1);
    const Scores scored = softmax(logits);
    Choice choice = choose(scored.scores, kTopK, renormalise);
    const TestMatrix dweight(kTokens, kTopK, 2);
    const TestMatrix dshare(1, kExperts, 3);
    const TestMatrix dlse(1, kTokens, 4);
    const auto loss = [&](const std::vector<double>& at) {
        double total = 0.0;
        for (std::size_t t = 0; t < kTokens; ++t) {
            double sum = 0.0;
            for (std::size_t e = 0; e < kExperts; ++e) sum += std::exp(at[t * kExperts + e]);
            const auto score = [&](std::size_t e) { return std::exp(at[t * kExperts + e]) / sum; };
            total += static_cast<double>(dlse.values[t]) * std::log(sum);
            for (std::size_t e = 0; e < kExperts; ++e)
                total += static_cast<double>(dshare.values[e]) * score(e);
            double chosen = 0.0;
            double weighted = 0.0;
            for (std::size_t j = 0; j < kTopK; ++j) {
                const double s = score(static_cast<std::size_t>(choice.expert[t * kTopK + j]));
                chosen += s;
                weighted += static_cast<double>(dweight.values[t * kTopK + j]) * s;
            }
            total += renormalise == Renormalise::yes ? weighted / chosen : weighted;
        }
        return total;
    };
    TestMatrix got(kTokens, kExperts);
    ops::gate_backward({.forward = {scored.scores.view(), choice.experts(), renormalise, 1.0F},
                        .dweight = dweight.view(),
                        .dshare = dshare.values,
                        .dlse = host_operand(std::span(dlse.values))},
                       got.view(), session.context);
    CHECK(relative_error(got.values, test::numeric_gradient(test::widened(logits.values), loss)) < 2e-6);
}

TEST_CASE("gate: a token's bits do not depend on threads or on the tokens beside it", "[unit]") {
    const TestMatrix logits(150, 37, 1);
    const TestMatrix dweight(150, 3, 2);
    struct All {
        Scores scored;
        Choice choice;
        TestMatrix dlogits;
    };
    const auto run = [&](Range tokens, int threads) {
        TestMatrix part(tokens.size(), 37);
        std::copy(logits.values.begin() + tokens.begin * 37, logits.values.begin() + tokens.end * 37,
                  part.values.begin());
        All all{softmax(part, threads), Choice(0, 3), TestMatrix(tokens.size(), 37)};
        all.choice = choose(all.scored.scores, 3, Renormalise::yes, threads);
        TestSession session(threads);
        ops::gate_backward(
            {.forward = {all.scored.scores.view(), all.choice.experts(), Renormalise::yes, 1.0F},
             .dweight = dweight.view().rows_of(tokens)},
            all.dlogits.view(), session.context);
        return all;
    };
    const All whole = run({0, 150}, 1);
    for (const int threads : {2, 3}) {
        const All other = run({0, 150}, threads);
        CHECK(test::same_bits(other.scored.scores.values, whole.scored.scores.values));
        CHECK(other.choice.expert == whole.choice.expert);
        CHECK(test::same_bits(other.choice.weight.values, whole.choice.weight.values));
        CHECK(test::same_bits(other.dlogits.values, whole.dlogits.values));
    }
    const All last = run({99, 150}, 2);
    CHECK(std::equal(last.choice.expert.begin(), last.choice.expert.end(),
                     whole.choice.expert.begin() + 99 * 3));
    CHECK(std::equal(last.dlogits.values.begin(), last.dlogits.values.end(),
                     whole.dlogits.values.begin() + 99 * 37));
}

TEST_CASE("gate: more choices than experts and shapes that do not fit are refused", "[unit]") {
    TestSession session;
    const TestMatrix logits(4, 6, 1);
    TestMatrix scores(4, 6);
    TestMatrix narrow(4, 5);
    std::vector<float> lse(4);
    CHECK_THROWS_AS(ops::gate_scores(ops::Score::softmax, logits.view(), narrow.view(),
                                     host_operand(std::span(lse)), session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::gate_scores(ops::Score::softmax, logits.view(), scores.view(),
                                     host_operand(std::span(lse).first(3)), session.context),
                    ShapeError);
    CHECK_THROWS_AS(choose(logits, 7, Renormalise::no), ShapeError);
    CHECK_THROWS_AS(choose(logits, 0, Renormalise::no), ShapeError);
    Choice choice(4, 2);
    Choice other(4, 3);
    CHECK_THROWS_AS(ops::gate_weights({logits.view(), choice.experts(), Renormalise::no, 1.0F},
                                      other.weight.view(), session.context),
                    ShapeError);
    const ops::GateBackward good{.forward = {scores.view(), choice.experts(), Renormalise::no, 1.0F},
                                 .dweight = choice.weight.view()};
    const auto refused = [&](auto change) {
        ops::GateBackward in = good;
        change(in);
        CHECK_THROWS_AS(ops::gate_backward(in, scores.view(), session.context), ShapeError);
    };
    refused([&](ops::GateBackward& in) { in.dweight = other.weight.view(); });
    refused([&](ops::GateBackward& in) { in.forward.scores = narrow.view(); });
    refused([&](ops::GateBackward& in) { in.dshare = lse; });
    refused([&](ops::GateBackward& in) { in.dlse = host_operand(std::span<const float>(lse).first(3)); });
    CHECK_THROWS_AS(ops::gate_backward(good, narrow.view(), session.context), ShapeError);
}

TEST_CASE("gate: sigmoid scores agree with the reference, and 0 gives a half", "[unit]") {
    const index_t experts = GENERATE(1, 16, 21, 100);
    TestSession session(2);
    const TestMatrix logits(70, experts, 1, 5.0F);
    TestMatrix got(70, experts);
    TestMatrix wanted(70, experts);
    std::vector<float> lse(70);
    std::vector<float> wanted_lse(70);
    ops::gate_scores(ops::Score::sigmoid, logits.view(), got.view(), host_operand(std::span(lse)),
                     session.context);
    ops::ref::gate_scores(ops::Score::sigmoid, logits.view(), wanted.view(), wanted_lse);
    CHECK(relative_error(got.values, wanted.values) < 1e-6);
    CHECK(relative_error(lse, wanted_lse) < 1e-6);
    TestMatrix zeros(1, experts);
    ops::gate_scores(ops::Score::sigmoid, zeros.view(), zeros.view(), host_operand(std::span(lse).first(1)),
                     session.context);
    for (const float score : zeros.values) CHECK(score == 0.5F);
}

TEST_CASE("gate: no choice weighs nothing and takes no part in the sum", "[unit]") {
    TestSession session;
    TestMatrix scores(2, 3);
    scores.values = {0.5F, 0.25F, 0.25F, 0.2F, 0.3F, 0.5F};
    std::vector<std::int32_t> expert{0, -1, -1, -1};
    TestMatrix weight(2, 2);
    ops::gate_weights({scores.view(), MatrixView(expert.data(), 2, 2), Renormalise::yes, 2.5F}, weight.view(),
                      session.context);
    CHECK(weight.values == std::vector<float>{2.5F, 0.0F, 0.0F, 0.0F});
    expert = {0, 1, 2, -1};
    ops::gate_weights({scores.view(), MatrixView(expert.data(), 2, 2), Renormalise::no, 2.0F}, weight.view(),
                      session.context);
    CHECK(weight.values == std::vector<float>{1.0F, 0.5F, 1.0F, 0.0F});
}

TEST_CASE(
    "gate: backward of both scores agrees with the reference for scale, missing choices and dense parts",
    "[unit]") {
    const auto kind = GENERATE(ops::Score::softmax, ops::Score::sigmoid);
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    const index_t experts = GENERATE(5, 64);
    const int part = GENERATE(0, 1, 2, 3, 4);
    TestSession session(2);
    const TestMatrix logits(33, experts, 1);
    TestMatrix scores(33, experts);
    std::vector<float> lse(33);
    ops::gate_scores(kind, logits.view(), scores.view(), host_operand(std::span(lse)), session.context);
    Choice choice = choose(scores, 3, renormalise);
    for (std::size_t i = 1; i < choice.expert.size(); i += 5) choice.expert[i] = -1;
    const TestMatrix dweight(33, 3, 2);
    const TestMatrix dense(33, experts, 3);
    const TestMatrix dlogit(33, experts, 4);
    const TestMatrix row(33, experts, 5);
    ops::GateBackward in{.kind = kind,
                         .forward = {scores.view(), choice.experts(), renormalise, 2.5F},
                         .logits = logits.view(),
                         .lse = host_operand(std::span(lse))};
    if (part != 1) in.dweight = dweight.view();
    if (part == 2 || part == 4) in.token_dshare = dense.view();
    if (part == 3 || part == 4) in.dlogit = dlogit.view();
    if (part == 4) in.dshare = std::span(row.values).first(static_cast<std::size_t>(experts));
    if (part == 4 || part == 1) in.dlse = host_operand(std::span(row.values).first(33));
    TestMatrix got(33, experts, 6);
    TestMatrix wanted(33, experts);
    ops::gate_backward(in, got.view(), session.context);
    ops::ref::gate_backward(in, wanted.view());
    CHECK(relative_error(got.values, wanted.values) < 3e-6);
}

TEST_CASE("gate: backward of sigmoid scores agrees with finite differences of all its parts", "[unit]") {
    const auto renormalise = GENERATE(Renormalise::no, Renormalise::yes);
    constexpr std::size_t kTokens = 3;
    constexpr std::size_t kExperts = 19;
    constexpr std::size_t kTopK = 4;
    TestSession session;
    const TestMatrix logits(kTokens, kExperts, 1);
    TestMatrix scores(kTokens, kExperts);
    std::vector<float> lse(kTokens);
    ops::gate_scores(ops::Score::sigmoid, logits.view(), scores.view(), host_operand(std::span(lse)),
                     session.context);
    Choice choice = choose(scores, kTopK, renormalise);
    choice.expert[5] = -1;
    const TestMatrix dweight(kTokens, kTopK, 2);
    const TestMatrix dense(kTokens, kExperts, 3);
    const TestMatrix dlogit(kTokens, kExperts, 4);
    const TestMatrix dlse(1, kTokens, 5);
    const TestMatrix dshare(1, kExperts, 6);
    const auto loss = [&](const std::vector<double>& at) {
        double total = 0.0;
        for (std::size_t t = 0; t < kTokens; ++t) {
            double sum = 0.0;
            const auto score = [&](std::size_t e) { return 1.0 / (1.0 + std::exp(-at[t * kExperts + e])); };
            double scores_sum = 0.0;
            for (std::size_t e = 0; e < kExperts; ++e) scores_sum += score(e);
            for (std::size_t e = 0; e < kExperts; ++e) {
                const std::size_t i = t * kExperts + e;
                sum += std::exp(at[i]);
                total += static_cast<double>(dense.values[i] + dshare.values[e]) * score(e) / scores_sum;
                total += static_cast<double>(dlogit.values[i]) * at[i];
            }
            total += static_cast<double>(dlse.values[t]) * std::log(sum);
            double chosen = 0.0;
            double weighted = 0.0;
            for (std::size_t j = 0; j < kTopK; ++j) {
                const std::int32_t e = choice.expert[t * kTopK + j];
                if (e < 0) continue;
                chosen += score(static_cast<std::size_t>(e));
                weighted +=
                    static_cast<double>(dweight.values[t * kTopK + j]) * score(static_cast<std::size_t>(e));
            }
            total += 2.5 * (renormalise == Renormalise::yes ? weighted / chosen : weighted);
        }
        return total;
    };
    TestMatrix got(kTokens, kExperts);
    ops::gate_backward({.kind = ops::Score::sigmoid,
                        .forward = {scores.view(), choice.experts(), renormalise, 2.5F},
                        .logits = logits.view(),
                        .lse = host_operand(std::span(lse)),
                        .dweight = dweight.view(),
                        .dshare = dshare.values,
                        .token_dshare = dense.view(),
                        .dlse = host_operand(std::span(dlse.values)),
                        .dlogit = dlogit.view()},
                       got.view(), session.context);
    CHECK(relative_error(got.values, test::numeric_gradient(test::widened(logits.values), loss)) < 2e-6);
}

TEST_CASE("gate: open groups are those of the reference, ties included", "[unit]") {
    const index_t groups = GENERATE(1, 2, 8);
    const index_t limit = GENERATE(1, 2);
    const index_t counted = GENERATE(1, 2, 3);
    if (limit > groups) return;
    TestMatrix scores(130, 24, 3);
    // Few distinct values, so that ties are everywhere; sums of eighths are exact.
    for (float& score : scores.values) score = std::floor(score * 2.0F) * 0.125F;
    TestSession session(2);
    TestMatrix got(130, 24);
    TestMatrix wanted(130, 24);
    const ops::GroupLimit rule{groups, limit, counted};
    ops::gate_limit_groups(scores.view(), rule, got.view(), session.context);
    ops::ref::gate_limit_groups(scores.view(), rule, wanted.view());
    CHECK(got.values == wanted.values);
    CHECK(std::count(got.values.begin(), got.values.end(), -kInfinity) ==
          130 * 24 / groups * (groups - limit));
}

TEST_CASE("gate: with fewer finite groups than may be reached, choices are still different experts",
          "[unit]") {
    TestMatrix scores(1, 12);
    std::ranges::fill(scores.values, -kInfinity);
    scores.values[7] = 0.5F;
    for (const index_t counted : {1, 2}) {
        TestSession session;
        TestMatrix open(1, 12);
        ops::gate_limit_groups(scores.view(), {4, 2, counted}, open.view(), session.context);
        const std::vector<std::int32_t> chosen = choose(open, 4, Renormalise::no).expert;
        CHECK(std::set<std::int32_t>(chosen.begin(), chosen.end()).size() == 4);
        // A group's sum is -infinity as soon as one of the counted is.
        if (counted == 1) CHECK(std::ranges::count(chosen, 7) == 1);
    }
}

TEST_CASE("gate: groups that do not fit are refused", "[unit]") {
    TestSession session;
    TestMatrix scores(4, 6);
    for (const ops::GroupLimit& rule : {ops::GroupLimit{4, 1, 1}, {3, 4, 1}, {3, 0, 1}, {3, 1, 3}, {0, 1, 1}})
        CHECK_THROWS_AS(ops::gate_limit_groups(scores.view(), rule, scores.view(), session.context),
                        ShapeError);
}

TEST_CASE("gate: chosen scores that sum to almost nothing have finite weights and gradients", "[unit]") {
    // The sum is 0, its inverse overflows, and the guard against both is as large as the sum.
    const float score = GENERATE(0.0F, 8.2e-40F, 5e-21F);
    const auto kind = GENERATE(ops::Score::softmax, ops::Score::sigmoid);
    TestSession session;
    TestMatrix scores(1, 4);
    std::fill(scores.values.begin(), scores.values.end(), score);
    Choice choice = choose(scores, 2, Renormalise::yes);
    TestMatrix dweight(1, 2);
    dweight.values = {2.0F, 3.0F};
    TestMatrix got(1, 4);
    TestMatrix wanted(1, 4);
    TestMatrix weight(1, 2);
    const ops::GateBackward in{.kind = kind,
                               .forward = {scores.view(), choice.experts(), Renormalise::yes, 1.0F},
                               .dweight = dweight.view()};
    ops::gate_backward(in, got.view(), session.context);
    ops::ref::gate_backward(in, wanted.view());
    ops::ref::gate_weights(in.forward, weight.view());
    // In closed form: weight_j = s_j / d with d = sum + 1e-20; its gradient is s_j (dweight_j - dot / d) / d.
    const double s = static_cast<double>(score);
    const double d = 2.0 * s + 1e-20;
    for (index_t j = 0; j < 2; ++j) {
        const double own = static_cast<double>(dweight.view()(0, j));
        CHECK(static_cast<double>(choice.weight.view()(0, j)) == Approx(s / d).epsilon(1e-5).margin(1e-18));
        CHECK(static_cast<double>(weight.view()(0, j)) == Approx(s / d).epsilon(1e-5).margin(1e-18));
        const double slope = s * (own - 5.0 * s / d) / d;
        CHECK(static_cast<double>(got.view()(0, j)) == Approx(slope).epsilon(1e-5).margin(1e-18));
        CHECK(static_cast<double>(wanted.view()(0, j)) == Approx(slope).epsilon(1e-5).margin(1e-18));
    }
}

TEST_CASE("gate: no gradient of shares scales all sigmoid scores up or down", "[unit]") {
    // Along d logit = d ln(score) / (1 - score) every score grows by the same factor, and no share changes.
    TestSession session;
    const TestMatrix logits(5, 64, 1);
    TestMatrix scores(5, 64);
    std::vector<float> lse(5);
    ops::gate_scores(ops::Score::sigmoid, logits.view(), scores.view(), host_operand(std::span(lse)),
                     session.context);
    Choice choice = choose(scores, 2, Renormalise::no);
    std::vector<float> dshare(64, 0.5F);
    dshare[7] = 2.0F;
    TestMatrix got(5, 64);
    ops::gate_backward({.kind = ops::Score::sigmoid,
                        .forward = {scores.view(), choice.experts(), Renormalise::no, 1.0F},
                        .dshare = dshare},
                       got.view(), session.context);
    for (index_t t = 0; t < 5; ++t) {
        double along = 0.0;
        double size = 0.0;
        for (index_t e = 0; e < 64; ++e) {
            const double part =
                static_cast<double>(got.view()(t, e)) / (1.0 - static_cast<double>(scores.view()(t, e)));
            along += part;
            size += std::fabs(part);
        }
        CHECK(size > 1e-3);
        CHECK(std::fabs(along) < 1e-5 * size);
    }
}

TEST_CASE("gate: shares of sigmoid scores that are almost nothing have finite gradients", "[unit]") {
    const float score = GENERATE(0.0F, 8.2e-40F, 5e-21F);
    TestSession session;
    TestMatrix scores(1, 4);
    std::fill(scores.values.begin(), scores.values.end(), score);
    Choice choice = choose(scores, 2, Renormalise::no);
    const std::vector<float> dshare{2.0F, -3.0F, 0.0F, 1.0F};
    TestMatrix got(1, 4);
    TestMatrix wanted(1, 4);
    const ops::GateBackward in{.kind = ops::Score::sigmoid,
                               .forward = {scores.view(), choice.experts(), Renormalise::no, 1.0F},
                               .dshare = dshare};
    ops::gate_backward(in, got.view(), session.context);
    ops::ref::gate_backward(in, wanted.view());
    // In closed form share = s / (sum + 1e-20), and these gradients of shares sum to 0: slope = s dshare / (4 s + 1e-20).
    const double s = static_cast<double>(score);
    for (index_t e = 0; e < 4; ++e) {
        const double slope = s * static_cast<double>(dshare[static_cast<std::size_t>(e)]) / (4.0 * s + 1e-20);
        CHECK(static_cast<double>(got.view()(0, e)) == Approx(slope).epsilon(1e-5).margin(1e-18));
        CHECK(static_cast<double>(wanted.view()(0, e)) == Approx(slope).epsilon(1e-5).margin(1e-18));
    }
}
