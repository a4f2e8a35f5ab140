// Losses of a router: closed forms at uniform scores, and values and gradients against the formulas in double.
#include <catch2/catch.hpp>

#include <functional>
#include <set>
#include <utility>

#include "tests/unit/model/router_harness.hpp"

using namespace sy;
using namespace sy::model;
using test::ReferenceRouting;

namespace {

MoeConfig no_losses() {
    MoeConfig moe;
    moe.experts = 8;
    moe.top_k = 2;
    moe.groups = 4;
    moe.group_limit = 2;
    moe.balance.switch_loss = 0.0;
    moe.balance.z_loss = 0.0;
    return moe;
}

double number(std::size_t value) {
    return static_cast<double>(value);
}

/// What a token's scores are of their sum.
std::vector<double> shares(const test::ReferenceToken& token) {
    std::vector<double> share = token.score;
    const double sum = std::accumulate(share.begin(), share.end(), 0.0);
    for (double& one : share) one /= sum;
    return share;
}

double switch_loss(const MoeConfig& moe, const ReferenceRouting& routing) {
    std::vector<double> load(static_cast<std::size_t>(moe.experts), 0.0);
    std::vector<double> mean = load;
    for (const auto& token : routing) {
        for (const std::size_t e : token.expert) load[e] += 1.0 / number(routing.size());
        const std::vector<double> share = shares(token);
        for (std::size_t e = 0; e < mean.size(); ++e) mean[e] += share[e] / number(routing.size());
    }
    return number(mean.size()) / static_cast<double>(moe.top_k) *
           std::inner_product(load.begin(), load.end(), mean.begin(), 0.0);
}

double importance(const MoeConfig& moe, const ReferenceRouting& routing) {
    std::vector<double> sums(static_cast<std::size_t>(moe.experts), 0.0);
    for (const auto& token : routing) {
        for (std::size_t j = 0; j < token.expert.size(); ++j) sums[token.expert[j]] += token.weight[j];
    }
    double mean = 0.0;
    double square = 0.0;
    for (const double sum : sums) {
        mean += sum / number(sums.size());
        square += sum * sum / number(sums.size());
    }
    return (square - mean * mean) / (mean * mean + 1e-10);
}

/// Mean share of each group of experts, and how many choices and tokens went there.
struct Groups {
    std::vector<double> share, choices, tokens;
    Groups(const MoeConfig& moe, const ReferenceRouting& routing) {
        const auto groups = static_cast<std::size_t>(moe.groups);
        const std::size_t size = static_cast<std::size_t>(moe.experts) / groups;
        share = choices = tokens = std::vector<double>(groups, 0.0);
        for (const auto& token : routing) {
            for (std::size_t e = 0; e < token.score.size(); ++e)
                share[e / size] += shares(token)[e] / number(routing.size());
            std::set<std::size_t> reached;
            for (const std::size_t e : token.expert) {
                choices[e / size] += 1.0;
                reached.insert(e / size);
            }
            for (const std::size_t group : reached) tokens[group] += 1.0;
        }
    }
};

double device(const MoeConfig& moe, const ReferenceRouting& routing) {
    const Groups groups(moe, routing);
    double loss = 0.0;
    for (std::size_t d = 0; d < groups.share.size(); ++d) {
        // The mean over the group's experts of E / (K T) * choices.
        const double experts = static_cast<double>(moe.experts / moe.groups);
        const double f = groups.choices[d] / experts * static_cast<double>(moe.experts) /
                         (static_cast<double>(moe.top_k) * number(routing.size()));
        loss += f * groups.share[d];
    }
    return loss;
}

double communication(const MoeConfig& moe, const ReferenceRouting& routing) {
    const Groups groups(moe, routing);
    double loss = 0.0;
    for (std::size_t d = 0; d < groups.share.size(); ++d) {
        const double f = static_cast<double>(moe.groups) /
                         (static_cast<double>(moe.group_limit) * number(routing.size())) * groups.tokens[d];
        loss += f * groups.share[d];
    }
    return loss;
}

double sequence(const MoeConfig& moe, const ReferenceRouting& routing) {
    const auto length = static_cast<std::size_t>(test::kRouterSequence);
    const auto experts = static_cast<std::size_t>(moe.experts);
    double loss = 0.0;
    for (std::size_t first = 0; first < routing.size(); first += length) {
        for (std::size_t e = 0; e < experts; ++e) {
            double count = 0.0;
            double mean = 0.0;
            for (std::size_t t = first; t < first + length; ++t) {
                const std::vector<double>& score = routing[t].score;
                const auto best = test::highest(score, moe.top_k);
                count += static_cast<double>(std::count(best.begin(), best.end(), e));
                mean += shares(routing[t])[e] / number(length);
            }
            loss += number(experts) / (static_cast<double>(moe.top_k) * number(length)) * count * mean;
        }
    }
    return loss / number(routing.size() / length);
}

struct Case {
    const char* name;
    double BalanceConfig::*coefficient;
    double (*reference)(const MoeConfig&, const ReferenceRouting&);
    double uniform;  ///< value at equal scores, where all tokens choose experts 0 and 1 of group 0
};

const Case kCases[] = {{"switch_loss", &BalanceConfig::switch_loss, switch_loss, 1.0},
                       {"importance_loss", &BalanceConfig::importance_loss, importance, 3.0},
                       {"device_loss", &BalanceConfig::device_loss, device, 1.0},
                       {"communication_loss", &BalanceConfig::communication_loss, communication, 0.5},
                       {"sequence_loss", &BalanceConfig::sequence_loss, sequence, 1.0}};

/// Largest difference of `ours` from the slopes of `loss` at `values`, over the largest slope.
double slope_error(std::vector<double>& values, const std::vector<double>& ours,
                   const std::function<double()>& loss) {
    double difference = 0.0;
    double scale = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double kept = values[i];
        constexpr double kStep = 1e-6;
        values[i] = kept + kStep;
        const double above = loss();
        values[i] = kept - kStep;
        const double slope = (above - loss()) / (2.0 * kStep);
        values[i] = kept;
        difference = std::max(difference, std::fabs(slope - ours[i]));
        scale = std::max(scale, std::fabs(slope));
    }
    return difference / scale;
}

}  // namespace

TEST_CASE("balance: at equal scores each loss has its known value", "[unit]") {
    for (const Case& loss : kCases) {
        INFO(loss.name);
        MoeConfig moe = no_losses();
        moe.balance.*loss.coefficient = 1.0;
        const test::RouterRun run = test::run_router(moe, {}, 0.0F);
        REQUIRE(run.losses.size() == 1);
        CHECK(run.losses[0] == Approx(loss.uniform).epsilon(1e-7));
        CHECK(make_router_losses(moe)[0]->name() == loss.name);
    }
}

TEST_CASE("balance: at even load every loss of shares is 1 with 64 experts, whatever the scores", "[unit]") {
    // Equal scores of a half each; every token takes all experts of the groups it may reach, so that the load is even.
    MoeConfig moe = no_losses();
    moe.experts = 64;
    moe.top_k = 64;
    moe.groups = moe.group_limit = 8;
    moe.score = GENERATE(Score::softmax, Score::sigmoid);
    moe.balance.switch_loss = moe.balance.device_loss = 1.0;
    moe.balance.communication_loss = moe.balance.sequence_loss = 1.0;
    const test::RouterRun run = test::run_router(moe, {}, 0.0F);
    REQUIRE(run.losses.size() == 4);
    for (const double loss : run.losses) CHECK(loss == Approx(1.0).epsilon(1e-7));
}

TEST_CASE("balance: scores that are all 0 give every loss a finite value and gradient", "[unit]") {
    constexpr index_t kTokens = 8;
    MoeConfig moe = no_losses();
    moe.score = Score::sigmoid;
    test::TestSession session;
    const auto zeros = [&](index_t cols) {
        Tensor tensor(session.context.device, DType::f32, {kTokens, cols});
        tensor.fill_zero();
        return tensor;
    };
    Routing routing;
    routing.score = Score::sigmoid;
    routing.logits = zeros(moe.experts);
    std::ranges::fill(routing.logits.values<float>(), -200.0F);
    routing.scores = zeros(moe.experts);
    routing.weight = zeros(moe.top_k);
    routing.lse = Tensor(session.context.device, DType::f32, {kTokens});
    std::ranges::fill(routing.lse.values<float>(), -200.0F + std::log(8.0F));
    routing.expert = Tensor(session.context.device, DType::i32, {kTokens, moe.top_k});
    for (index_t i = 0; i < kTokens * moe.top_k; ++i)
        routing.expert.values<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % 2);
    const std::vector<index_t> load{kTokens, kTokens, 0, 0, 0, 0, 0, 0};
    PassInfo pass;
    pass.batch = {0, kTokens, 1, 0, 1};
    pass.seq_len = 4;
    const RoutedBatch routed{routing, pass, session.context};
    for (const Case& one : kCases) {
        INFO(one.name);
        MoeConfig asked = moe;
        asked.balance.*one.coefficient = 1.0;
        const auto loss = std::move(make_router_losses(asked)[0]);
        test::SumWords words(loss->num_sums());
        loss->add_sums(routed, words);
        const std::vector<ExactSum> sums = words.sums();
        const LossTotals totals{load, sums, kTokens};
        CHECK(std::isfinite(loss->value(totals)));
        RouterGradients gradients;
        loss->add_gradient(routed, totals, 1.0, gradients);
        const auto all_finite = [](std::span<const float> values) {
            return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
        };
        CHECK(all_finite(gradients.share));
        if (!gradients.token_share.empty())
            CHECK(all_finite(std::as_const(gradients.token_share).values<float>()));
        if (!gradients.weight.empty()) CHECK(all_finite(std::as_const(gradients.weight).values<float>()));
    }
}

TEST_CASE("balance: values and gradients through the whole router are those of the formulas in double",
          "[unit]") {
    const Case& loss = kCases[static_cast<std::size_t>(GENERATE(0, 1, 2, 3, 4))];
    MoeConfig moe = no_losses();
    moe.router = GENERATE("top_k", "group_limited");
    moe.score = GENERATE(Score::softmax, Score::sigmoid);
    moe.group_score = GENERATE(GroupScore::highest, GroupScore::top_sum);
    moe.renormalise = moe.group_score == GroupScore::highest;
    moe.routed_scale = 1.5;
    moe.balance.*loss.coefficient = 3.0;
    std::vector<double> bias;
    if (moe.score == Score::sigmoid) {
        moe.balance.bias_rate = 0.001;
        bias = {0.25, -0.125, 0.0, 0.25, -0.25, 0.125, 0.5, 0.0};
    }
    test::RouterRun run = test::run_router(moe, bias, 0.6F);
    const auto value = [&] { return loss.reference(moe, test::reference_routing(moe, run.x, run.w, bias)); };
    const auto objective = [&] {
        const ReferenceRouting routing = test::reference_routing(moe, run.x, run.w, bias);
        double total = 3.0 * loss.reference(moe, routing);
        std::size_t i = 0;
        for (const auto& token : routing) {
            for (const double weight : token.weight) total += run.dweight[i++] * weight;
        }
        return total;
    };
    INFO(loss.name << " with " << moe.router);
    REQUIRE(run.losses.size() == 1);
    CHECK(run.losses[0] == Approx(value()).epsilon(1e-6));
    CHECK(slope_error(run.w, run.dw, objective) < 2e-5);
    CHECK(slope_error(run.x, run.dx, objective) < 2e-5);
}

TEST_CASE(
    "balance: the squared variation is 0 when even, whatever the scale, and has the slope of its formula",
    "[unit]") {
    const auto sums = [](std::vector<double> values) {
        std::vector<ExactSum> result(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) result[i].add(values[i]);
        return result;
    };
    CHECK(squared_variation(sums({2.0, 2.0, 2.0})) == 0.0);
    CHECK(squared_variation(sums({0.0, 0.0})) == 0.0);
    CHECK(squared_variation(sums({1.0, 3.0})) == Approx(0.25).epsilon(1e-9));
    CHECK(squared_variation(sums({100.0, 300.0})) == Approx(0.25).epsilon(1e-9));
    std::vector<double> at{1.0, 3.0, 0.5};
    CHECK(slope_error(at, test::in_double(squared_variation_gradient(sums(at), 1.0)), [&] {
              const double mean = (at[0] + at[1] + at[2]) / 3.0;
              const double square = (at[0] * at[0] + at[1] * at[1] + at[2] * at[2]) / 3.0;
              return (square - mean * mean) / (mean * mean + 1e-10);
          }) < 1e-6);
}
