// Partial rotation, both pairings, and the stretched frequencies against numbers of transformers 4.46.3.
#include <catch2/catch.hpp>

#include "kernels/ops/rotary/rotary.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Direction;
using ops::RotaryPairs;
using ops::RotaryRule;
using ops::RotaryStretch;
using test::TestMatrix;
using test::TestSession;

namespace {

std::vector<std::int32_t> positions(index_t count, std::int32_t step) {
    std::vector<std::int32_t> position;
    for (index_t t = 0; t < count; ++t) position.push_back(static_cast<std::int32_t>(t) * step);
    return position;
}

RotaryRule rule_of(index_t rotary_dim, RotaryStretch stretch, double factor, index_t original = 0) {
    RotaryRule rule{rotary_dim, 10000.0};
    rule.scaling.stretch = stretch;
    rule.scaling.factor = factor;
    rule.scaling.original_positions = original;
    return rule;
}

/// transformers computes in float32: its numbers are right to a few units in the last place.
void check_frequencies(const RotaryRule& rule, const std::vector<double>& wanted) {
    const std::vector<double> got = ops::rotary_frequencies(rule);
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        INFO("pair " << i);
        CHECK(got[i] == Approx(wanted[i]).epsilon(2e-6));
    }
}

}  // namespace

TEST_CASE("rotary: every head width, offset and pairing agrees with the reference, and other columns stay",
          "[unit]") {
    const auto pairs = GENERATE(RotaryPairs::half_split, RotaryPairs::interleaved);
    const auto direction = GENERATE(Direction::forward, Direction::backward);
    for (const auto& [head_dim, first, rotary_dim] : {std::tuple<index_t, index_t, index_t>{64, 0, 64},
                                                      {64, 0, 16},
                                                      {192, 128, 64},
                                                      {10, 3, 6},
                                                      {80, 2, 70},
                                                      {2, 0, 2}}) {
        INFO("head of " << head_dim << ", " << rotary_dim << " from " << first);
        const RotaryRule rule{rotary_dim, 10000.0, pairs};
        const ops::RotaryHeads heads(head_dim, first);
        TestSession session(2);
        TestMatrix x(19, 3 * head_dim, 1);
        const TestMatrix before = x;
        TestMatrix wanted = x;
        const auto position = positions(19, 27);
        ops::rotary(x.view(), heads, position, ops::RotaryTable(512, rule), direction, session.context);
        ops::ref::rotary(wanted.view(), heads, position, rule, direction);
        CHECK(test::relative_error(x.values, wanted.values) < 5e-7);
        for (index_t col = 0; col < x.cols; ++col) {
            const index_t inside = col % head_dim - first;
            const bool turned = inside >= 0 && inside < rotary_dim;
            REQUIRE((x.view()(18, col) != before.view()(18, col)) == turned);
        }
    }
}

TEST_CASE("rotary: interleaved pairs are neighbours, from the definition", "[unit]") {
    // With theta = 1 every pair turns by its position in radians.
    const ops::RotaryTable table(4, {4, 1.0, RotaryPairs::interleaved});
    TestSession session;
    std::vector<float> row{9.0F, 1.0F, 2.0F, 3.0F, 4.0F, 8.0F};
    const std::vector<std::int32_t> position{3};
    ops::rotary(host_operand(std::span(row)), {6, 1}, position, table, Direction::forward, session.context);
    const double c = std::cos(3.0);
    const double s = std::sin(3.0);
    CHECK(row[0] == 9.0F);
    CHECK(static_cast<double>(row[1]) == Approx(1.0 * c - 2.0 * s));
    CHECK(static_cast<double>(row[2]) == Approx(2.0 * c + 1.0 * s));
    CHECK(static_cast<double>(row[3]) == Approx(3.0 * c - 4.0 * s));
    CHECK(static_cast<double>(row[4]) == Approx(4.0 * c + 3.0 * s));
    CHECK(row[5] == 8.0F);
}

TEST_CASE("rotary: interleaved is half-split of columns in another order, bit for bit", "[unit]") {
    constexpr index_t kWidth = 70;
    TestSession session;
    TestMatrix split(9, kWidth, 1);
    TestMatrix woven(9, kWidth);
    const auto woven_col = [](index_t col) { return col < kWidth / 2 ? 2 * col : 2 * col - kWidth + 1; };
    for (index_t t = 0; t < 9; ++t)
        for (index_t col = 0; col < kWidth; ++col) woven.view()(t, woven_col(col)) = split.view()(t, col);
    const auto position = positions(9, 5);
    ops::rotary(split.view(), kWidth, position, ops::RotaryTable(64, {kWidth, 10000.0}), Direction::forward,
                session.context);
    ops::rotary(woven.view(), kWidth, position,
                ops::RotaryTable(64, {kWidth, 10000.0, RotaryPairs::interleaved}), Direction::forward,
                session.context);
    for (index_t t = 0; t < 9; ++t)
        for (index_t col = 0; col < kWidth; ++col)
            REQUIRE(woven.view()(t, woven_col(col)) == split.view()(t, col));
}

TEST_CASE("rotary: a factor of 1 stretches nothing, whatever the rule", "[unit]") {
    const std::vector<double> plain = ops::rotary_frequencies({32, 10000.0});
    CHECK(plain[0] == 1.0);
    CHECK(plain[16 / 2] == Approx(0.01));
    for (const auto stretch :
         {RotaryStretch::linear, RotaryStretch::ntk, RotaryStretch::llama3, RotaryStretch::yarn}) {
        const std::vector<double> got = ops::rotary_frequencies(rule_of(32, stretch, 1.0, 4096));
        for (std::size_t i = 0; i < plain.size(); ++i) CHECK(got[i] == Approx(plain[i]).epsilon(1e-14));
    }
}

TEST_CASE("rotary: linear divides all frequencies, ntk none of the first and all of the last", "[unit]") {
    check_frequencies(rule_of(8, RotaryStretch::linear, 4.0), {0.25, 0.025, 0.0025, 0.00025});
    const std::vector<double> plain = ops::rotary_frequencies({64, 10000.0});
    const std::vector<double> ntk = ops::rotary_frequencies(rule_of(64, RotaryStretch::ntk, 8.0));
    CHECK(ntk.front() == 1.0);
    CHECK(ntk.back() == Approx(plain.back() / 8.0).epsilon(1e-12));
    // theta' = theta * s^(D / (D - 2))
    CHECK(ntk[7] == Approx(std::pow(10000.0 * std::pow(8.0, 64.0 / 62.0), -14.0 / 64.0)).epsilon(1e-12));
}

TEST_CASE("rotary: llama3 frequencies are those of transformers", "[unit]") {
    // LlamaConfig(head width 32, rope_theta 500000, rope_scaling factor 8, low 1, high 4, original 8192)
    RotaryRule rule = rule_of(32, RotaryStretch::llama3, 8.0, 8192);
    rule.theta = 500000.0;
    check_frequencies(rule, {1, 0.440366626, 0.193922758, 0.0853971019, 0.0376060307, 0.0165604409,
                             0.00729266508, 0.00321144611, 0.000524846022, 7.78465546e-05, 3.42810235e-05,
                             1.50962178e-05, 6.64786967e-06, 2.92749974e-06, 1.28917316e-06, 5.6770881e-07});
    // The same with rope_theta 10000, factor 32, original 2048.
    check_frequencies(rule_of(32, RotaryStretch::llama3, 32.0, 2048),
                      {1, 0.562341332, 0.316227764, 0.177827939, 0.100000001, 0.0562341288, 0.0316227786,
                       0.0177827943, 0.00760877971, 0.0016882763, 0.000130213739, 5.55712322e-05,
                       3.12500015e-05, 1.75731657e-05, 9.88211832e-06, 5.55712313e-06});
}

TEST_CASE("rotary: yarn frequencies are those of transformers", "[unit]") {
    // LlamaConfig(head width 32, rope_theta 10000, max_position_embeddings 4096, rope_scaling factor 4)
    check_frequencies(rule_of(32, RotaryStretch::yarn, 4.0, 4096),
                      {1, 0.562341332, 0.316227764, 0.177827939, 0.100000001, 0.0562341288, 0.0282346234,
                       0.0139721958, 0.00678571407, 0.00321337907, 0.00146820047, 0.00063509983,
                       0.000250000012, 0.000140585325, 7.90569466e-05, 4.44569851e-05});
    // The same with rope_theta 100: the ramp would end beyond the last pair.
    RotaryRule rule = rule_of(32, RotaryStretch::yarn, 4.0, 4096);
    rule.theta = 100.0;
    check_frequencies(rule, {1, 0.749894202, 0.562341332, 0.421696514, 0.316227764, 0.237137362, 0.177827939,
                             0.133352146, 0.100000001, 0.0749894157, 0.0562341288, 0.039736785, 0.0279739965,
                             0.0196094345, 0.0136790723, 0.00948851742});
    // Head width 16, rope_theta 10000, max_position_embeddings 64, factor 16: it would begin before the first.
    check_frequencies(rule_of(16, RotaryStretch::yarn, 16.0, 64),
                      {1, 0.217406571, 0.0374999978, 0.00197642366, 0.000624999986, 0.000197642366,
                       6.2500003e-05, 1.97642366e-05});
    // DeepSeek-V2: the same with head width 64, factor 40.
    check_frequencies(rule_of(64, RotaryStretch::yarn, 40.0, 4096), {1,
                                                                     0.749894202,
                                                                     0.562341332,
                                                                     0.421696514,
                                                                     0.316227764,
                                                                     0.237137362,
                                                                     0.177827939,
                                                                     0.133352146,
                                                                     0.100000001,
                                                                     0.0749894157,
                                                                     0.0562341288,
                                                                     0.0390069261,
                                                                     0.0268793609,
                                                                     0.0183781441,
                                                                     0.012447956,
                                                                     0.0083345091,
                                                                     0.00550000044,
                                                                     0.00356199732,
                                                                     0.00224936521,
                                                                     0.00137051346,
                                                                     0.000790569407,
                                                                     0.000414990413,
                                                                     0.00017782794,
                                                                     3.3338034e-05,
                                                                     2.49999994e-05,
                                                                     1.87473543e-05,
                                                                     1.40585325e-05,
                                                                     1.05424124e-05,
                                                                     7.90569447e-06,
                                                                     5.92843435e-06,
                                                                     4.44569832e-06,
                                                                     3.33380353e-06});
}

TEST_CASE("rotary: yarn sharpens by way of cos and sin, or of the softmax scale", "[unit]") {
    RotaryRule rule = rule_of(32, RotaryStretch::yarn, 40.0, 4096);
    const auto first_cosine = [&] { return host<const float>(ops::RotaryTable(1, rule).cosines())(0, 0); };
    // attention_factor of transformers for factor 40
    CHECK(first_cosine() == Approx(1.3688879454113936).epsilon(1e-7));
    CHECK(ops::RotaryTable(1, rule).score_factor() == 1.0);
    // DeepSeek-V2: mscale = mscale_all_dim = 0.707, softmax_scale *= (0.0707 ln 40 + 1)^2
    rule.scaling.mscale = 0.707;
    rule.scaling.mscale_all_dims = 0.707;
    CHECK(first_cosine() == 1.0F);
    CHECK(ops::RotaryTable(1, rule).score_factor() == Approx(1.5896261651208736).epsilon(1e-12));
    // Both ways stretch the scores of a query and a key alike.
    rule.scaling.mscale = 1.0;
    rule.scaling.mscale_all_dims = 0.5;
    const double amplitude = static_cast<double>(first_cosine());
    CHECK(amplitude * amplitude * ops::RotaryTable(1, rule).score_factor() ==
          Approx(1.3688879454113936 * 1.3688879454113936).epsilon(1e-6));
    CHECK(ops::RotaryTable(1, {32, 10000.0}).score_factor() == 1.0);
}

TEST_CASE("rotary: backward is the transpose, with yarn's amplitude too", "[unit]") {
    const auto pairs = GENERATE(RotaryPairs::half_split, RotaryPairs::interleaved);
    RotaryRule rule = rule_of(36, RotaryStretch::yarn, 16.0, 64);
    rule.pairs = pairs;
    const ops::RotaryTable table(512, rule);
    TestSession session;
    const auto position = positions(13, 31);
    const TestMatrix x(13, 80, 1);
    const TestMatrix dy(13, 80, 2);
    TestMatrix y = x;
    TestMatrix dx = dy;
    ops::rotary(y.view(), {40, 4}, position, table, Direction::forward, session.context);
    ops::rotary(dx.view(), {40, 4}, position, table, Direction::backward, session.context);
    double forward = 0.0;
    double backward = 0.0;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        forward += static_cast<double>(y.values[i]) * static_cast<double>(dy.values[i]);
        backward += static_cast<double>(x.values[i]) * static_cast<double>(dx.values[i]);
    }
    CHECK(forward == Approx(backward).epsilon(1e-5));
}

TEST_CASE("rotary: rules and heads that make no sense are refused", "[unit]") {
    const auto refused = [](const RotaryRule& rule) {
        CHECK_THROWS_AS(ops::rotary_frequencies(rule), LogicError);
        CHECK_THROWS_AS(ops::RotaryTable(4, rule), LogicError);
    };
    refused({0, 10000.0});
    refused({6, 0.0});
    refused(rule_of(2, RotaryStretch::ntk, 2.0));
    refused(rule_of(8, RotaryStretch::linear, 0.5));
    refused(rule_of(8, RotaryStretch::llama3, 2.0, 0));
    refused(rule_of(8, RotaryStretch::yarn, 2.0, 0));
    RotaryRule rule = rule_of(8, RotaryStretch::llama3, 2.0, 64);
    CHECK(ops::rotary_frequencies(rule).size() == 4);
    rule.scaling.high_frequency = rule.scaling.low_frequency;
    refused(rule);
    rule = rule_of(8, RotaryStretch::yarn, 2.0, 64);
    CHECK(ops::rotary_frequencies(rule).size() == 4);
    rule.scaling.beta_fast = rule.scaling.beta_slow;
    refused(rule);
    CHECK_THROWS_AS(ops::RotaryTable(-1, {8, 10000.0}), LogicError);
    TestSession session;
    TestMatrix x(1, 24, 1);
    const TestMatrix before = x;
    const ops::RotaryTable table(4, {8, 10000.0});
    const std::vector<std::int32_t> position{2};
    const auto run = [&](const ops::RotaryHeads& heads) {
        ops::rotary(x.view(), heads, position, table, Direction::forward, session.context);
    };
    CHECK_THROWS_AS(run({12, 5}), ShapeError);
    CHECK_THROWS_AS(run({12, -1}), ShapeError);
    CHECK_THROWS_AS(run({16, 0}), ShapeError);
    CHECK_THROWS_AS(run({6, 0}), ShapeError);
    CHECK(test::same_bits(x.values, before.values));
    run({12, 4});
    CHECK_FALSE(test::same_bits(x.values, before.values));
}
