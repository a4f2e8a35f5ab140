// How strategies choose: closed forms, the reference in double, the bias that learns from loads, refusals.
#include <catch2/catch.hpp>

#include "model/moe/router/problems.hpp"
#include "tests/unit/model/router_harness.hpp"

using namespace sy;
using namespace sy::model;

namespace {

std::vector<std::int32_t> choose(const MoeConfig& moe, std::vector<float> scores,
                                 const std::vector<double>& bias = {}) {
    std::vector<std::int32_t> chosen;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::TestSession session;
        const auto strategy = make_strategy(moe);
        std::ranges::copy(bias, strategy->state().begin());
        const MatrixView<const float> view(scores.data(), 1, static_cast<index_t>(scores.size()));
        const PassInfo pass;
        const Tensor expert = strategy->choose({view, view, pass, 0, world}, session.context);
        const auto values = expert.values<std::int32_t>();
        chosen.assign(values.begin(), values.end());
    });
    return chosen;
}

MoeConfig grouped(index_t experts, index_t groups, index_t limit, index_t top_k) {
    MoeConfig moe;
    moe.router = "group_limited";
    moe.experts = experts;
    moe.groups = groups;
    moe.group_limit = limit;
    moe.top_k = top_k;
    return moe;
}

using Experts = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("group_limited: the groups of the best expert, or of the best sum, and ties to the lower",
          "[unit]") {
    const std::vector<float> scores{0.9F, 0.0F, 0.5F, 0.5F, 0.1F, 0.6F};
    MoeConfig moe = grouped(6, 3, 1, 2);
    CHECK(choose(moe, scores) == Experts{0, 1});
    moe.group_score = GroupScore::top_sum;
    CHECK(choose(moe, scores) == Experts{2, 3});
    moe = grouped(6, 3, 2, 3);
    CHECK(choose(moe, scores) == Experts{0, 5, 4});
    CHECK(choose(moe, std::vector<float>(6, 0.25F)) == Experts{0, 1, 2});
    moe = grouped(6, 3, 3, 3);
    CHECK(choose(moe, scores) == Experts{0, 5, 2});
}

TEST_CASE("selection bias: it moves the choice of experts and of groups, not the weights", "[unit]") {
    MoeConfig moe;
    moe.experts = 4;
    moe.top_k = 2;
    moe.balance.bias_rate = 0.001;
    const std::vector<float> scores{0.4F, 0.3F, 0.2F, 0.1F};
    CHECK(choose(moe, scores) == Experts{0, 1});
    CHECK(choose(moe, scores, {0.0, -0.5, 0.0, 0.25}) == Experts{0, 3});
    MoeConfig groups = grouped(4, 2, 1, 1);
    groups.balance.bias_rate = 0.001;
    CHECK(choose(groups, scores, {0.0, 0.0, 0.0, 0.5}) == Experts{3});
    const test::RouterRun plain = test::run_router(moe, {0.0, 0.0, 0.0, 0.0}, 0.6F);
    const test::RouterRun biased = test::run_router(moe, {-9.0, -9.0, 0.0, 0.0}, 0.6F);
    CHECK(plain.expert != biased.expert);
    for (const std::int32_t e : biased.expert) CHECK(e >= 2);
}

TEST_CASE("selection bias: overloaded experts lose the rate, underloaded gain it, even ones stay", "[unit]") {
    MoeConfig moe;
    moe.experts = 4;
    moe.router = GENERATE("top_k", "group_limited");
    moe.groups = moe.group_limit = 2;
    moe.balance.bias_rate = 0.25;
    const auto strategy = make_strategy(moe);
    strategy->finish_step(std::vector<index_t>{9, 1, 5, 5});
    strategy->finish_step(std::vector<index_t>{6, 6, 6, 2});
    const auto bias = strategy->state();
    CHECK(std::vector<double>(bias.begin(), bias.end()) == std::vector<double>{-0.5, 0.0, -0.25, 0.25});
    CHECK_THROWS_AS(strategy->finish_step(std::vector<index_t>{1, 2}), LogicError);
    moe.balance.bias_rate = 0.0;
    CHECK(make_strategy(moe)->state().empty());
}

TEST_CASE("router: choices are those of the reference for every rule", "[unit]") {
    MoeConfig moe = grouped(12, 4, 2, 4);
    moe.router = GENERATE("top_k", "group_limited");
    moe.score = GENERATE(Score::softmax, Score::sigmoid);
    moe.group_score = GENERATE(GroupScore::highest, GroupScore::top_sum);
    moe.balance.bias_rate = 0.001;
    std::vector<double> bias;
    for (int e = 0; e < 12; ++e) bias.push_back(0.0625 * (e * 5 % 7 - 3));
    const test::RouterRun run = test::run_router(moe, bias, 0.6F);
    Experts wanted;
    for (const auto& token : test::reference_routing(moe, run.x, run.w, bias)) {
        for (const std::size_t e : token.expert) wanted.push_back(static_cast<std::int32_t>(e));
    }
    CHECK(run.expert == wanted);
}

TEST_CASE("router: what does not fit together is refused with the remedy", "[unit]") {
    const auto problem = [](MoeConfig moe) {
        const std::vector<std::string> problems = routing_problems(moe);
        return problems.empty() ? std::string() : problems.front();
    };
    using Catch::Contains;
    CHECK(problem(grouped(12, 4, 2, 4)).empty());
    CHECK_THAT(problem(grouped(12, 0, 2, 4)), Contains("needs moe.groups"));
    CHECK_THAT(problem(grouped(12, 5, 2, 4)), Contains("moe.groups = 5 does not divide"));
    CHECK_THAT(problem(grouped(12, 4, 0, 4)), Contains("moe.group_limit = 0 is not 1 to"));
    CHECK_THAT(problem(grouped(12, 4, 5, 4)), Contains("moe.group_limit = 5 is not 1 to"));
    CHECK_THAT(problem(grouped(12, 4, 1, 4)), Contains("moe.top_k = 4 is more than the 3"));
    MoeConfig sum = grouped(12, 4, 3, 4);
    CHECK(problem(sum).empty());
    sum.group_score = GroupScore::top_sum;
    CHECK_THAT(problem(sum), Contains("3 does not divide 4"));
    MoeConfig loss;
    loss.balance.device_loss = 0.1;
    CHECK_THAT(problem(loss), Contains("balance.device_loss needs moe.groups"));
    loss.groups = 2;
    CHECK(problem(loss).empty());
    loss.balance.communication_loss = 0.1;
    CHECK_THAT(problem(loss), Contains("moe.group_limit = 0"));
}

TEST_CASE("router: chance that its rule does not allow is refused with the remedy", "[unit]") {
    const auto refused = [](auto change, const char* remedy) {
        MoeConfig moe;
        REQUIRE(routing_problems(moe).empty());
        change(moe);
        const std::vector<std::string> problems = routing_problems(moe);
        REQUIRE(problems.size() == 1);
        CHECK_THAT(problems[0], Catch::Contains(remedy));
    };
    refused([](MoeConfig& moe) { moe.balance.load_loss = 0.1; }, "set moe.noise = learned");
    refused(
        [](MoeConfig& moe) {
            moe.noise = LogitNoise::learned;
            moe.score = Score::sigmoid;
        },
        "set moe.score = softmax");
    refused(
        [](MoeConfig& moe) {
            moe.noise = LogitNoise::learned;
            moe.balance.load_loss = 0.1;
            moe.top_k = moe.experts;
        },
        "set moe.top_k below");
    refused(
        [](MoeConfig& moe) {
            moe.random_second = true;
            moe.top_k = 3;
        },
        "set moe.top_k = 2");
}
