// RL-R: the policy's gradient against a surrogate in double, its draws, and a task with known answers.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

#include "model/moe/router/router.hpp"
#include "tests/unit/model/assignment_support.hpp"

using namespace sy;
using namespace sy::model;
using test::router_config;
using test::TestMatrix;
using test::TestSession;

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// A router alone on one rank.
struct Alone {
    TestSession session;
    ModelConfig model;
    MoeConfig moe;
    Parameters parameters;
    std::vector<ParameterId> ready;
    LayerContext shared;
    Router router;

    Alone(comm::Communicator& world, const MoeConfig& config, index_t hidden)
        : model(model_of(hidden)),
          moe(config),
          parameters(mixture_blueprint(model, moe), comm::block_placements({true}, moe.experts, 1), 0,
                     DType::f32, session.context),
          shared{model, parameters, [this](ParameterId id) { ready.push_back(id); }},
          router(shared, moe, kFirstMixture, world) {
        parameters.allocate(5);
        parameters.zero_gradients();
    }
    static ModelConfig model_of(index_t hidden) {
        ModelConfig result;
        result.hidden = hidden;
        return result;
    }
    std::span<float> weight(const std::string& name) {
        return part(name, parameters.group(Sharding::replicated).weights);
    }
    std::span<float> gradient(const std::string& name) {
        return part(name, parameters.group(Sharding::replicated).gradient);
    }

  private:
    std::span<float> part(const std::string& name, Tensor& flat) {
        for (const LocalMatrix& matrix : parameters.group(Sharding::replicated).matrices) {
            if (parameters.specs()[at(matrix.parameter)].name != name) continue;
            return flat.values<float>().subspan(at(matrix.place.offset),
                                                at(matrix.place.rows * matrix.place.cols));
        }
        throw LogicError("no parameter " + name);
    }
};

/// What is minimised, in double: rewards are constants, and the advantage one where `fixed` holds it.
struct Surrogate {
    std::vector<double> logits;  ///< [T, E]
    std::vector<double> baseline;
    std::vector<double> reward;
    std::vector<double> fixed_advantage;
    double entropy_bonus;
    double baseline_loss;

    double value(MatrixView<const std::int32_t> draws) const {
        const std::size_t tokens = reward.size();
        const std::size_t experts = logits.size() / tokens;
        double total = 0.0;
        for (std::size_t t = 0; t < tokens; ++t) {
            const double* const x = logits.data() + t * experts;
            std::vector<bool> gone(experts, false);
            for (const std::int32_t draw : draws.row_span(static_cast<index_t>(t))) {
                double sum = 0.0;
                for (std::size_t e = 0; e < experts; ++e) sum += gone[e] ? 0.0 : std::exp(x[e]);
                total -= fixed_advantage[t] * (x[draw] - std::log(sum));
                gone[at(draw)] = true;
            }
            double sum = 0.0;
            for (std::size_t e = 0; e < experts; ++e) sum += std::exp(x[e]);
            for (std::size_t e = 0; e < experts; ++e) {
                const double p = std::exp(x[e]) / sum;
                total += entropy_bonus * p * std::log(p);
            }
            total += baseline_loss * (baseline[t] - reward[t]) * (baseline[t] - reward[t]);
        }
        return total / static_cast<double>(tokens);
    }
};

double slope(const std::function<double(double)>& f) {
    constexpr double kStep = 1e-5;
    return (f(kStep) - f(-kStep)) / (2.0 * kStep);
}

PassInfo pass_of(index_t first_token, index_t tokens, index_t step, std::span<const float> loss) {
    PassInfo pass;
    pass.batch = {first_token, tokens, step, 0, 1};
    pass.seed = 4;
    pass.seq_len = 4;
    pass.token_loss = host_operand(loss);
    return pass;
}

}  // namespace

TEST_CASE("reinforce: gradients are those of the surrogate, by finite differences in double", "[unit]") {
    const index_t top_k = GENERATE(1, 2, 3, 5);
    MoeConfig config = router_config("reinforce", 5, top_k);
    config.balance.entropy_bonus = 0.3;
    config.balance.baseline_loss = 0.7;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        constexpr index_t kTokens = 8;
        constexpr index_t kHidden = 6;
        Alone alone(world, config, kHidden);
        const TestMatrix x(kTokens, kHidden, 3, 1.0F);
        for (std::size_t h = 0; h < kHidden; ++h)
            alone.weight("layers.0.moe.router.baseline")[h] = 0.2F * static_cast<float>(h) - 0.3F;
        alone.weight("layers.0.moe.router.baseline_offset")[0] = -0.4F;
        for (float& weight : alone.weight("layers.0.moe.router")) weight *= 40.0F;
        std::vector<float> loss;
        for (int t = 0; t < kTokens; ++t) loss.push_back(0.5F + 0.25F * static_cast<float>(t % 3));
        const PassInfo pass = pass_of(0, kTokens, 1, loss);
        const Routing routing = alone.router.route(x.view(), pass, alone.session.context);
        for (const float weight : routing.weight.values<float>()) CHECK(weight == 1.0F);
        RouterGradients gradients;
        alone.router.strategy().add_gradient(x.view(), routing, pass, gradients, alone.session.context);
        CHECK(alone.ready.size() == 2);

        Surrogate surrogate{{}, {}, {}, {}, 0.3, 0.7};
        for (const float logit : routing.logits.values<float>())
            surrogate.logits.push_back(static_cast<double>(logit));
        for (index_t t = 0; t < kTokens; ++t) {
            double baseline = static_cast<double>(-0.4F);
            for (index_t h = 0; h < kHidden; ++h) {
                baseline += static_cast<double>(x.view()(t, h)) *
                            static_cast<double>(alone.weight("layers.0.moe.router.baseline")[at(h)]);
            }
            surrogate.baseline.push_back(baseline);
            surrogate.reward.push_back(-static_cast<double>(loss[at(t)]));
            surrogate.fixed_advantage.push_back(surrogate.reward.back() - baseline);
        }
        const MatrixView<const std::int32_t> draws = routing.expert.matrix<std::int32_t>();
        for (std::size_t i = 0; i < surrogate.logits.size(); ++i) {
            const double expected = slope([&](double step) {
                Surrogate moved = surrogate;
                moved.logits[i] += step;
                return moved.value(draws);
            });
            CHECK(gradients.logit.values<float>()[i] == Approx(expected).margin(2e-7).epsilon(1e-4));
        }
        for (index_t h = 0; h <= kHidden; ++h) {
            const double expected = slope([&](double step) {
                Surrogate moved = surrogate;
                for (index_t t = 0; t < kTokens; ++t)
                    moved.baseline[at(t)] +=
                        step * (h == kHidden ? 1.0 : static_cast<double>(x.view()(t, h)));
                return moved.value(draws);
            });
            const float gradient = h == kHidden ? alone.gradient("layers.0.moe.router.baseline_offset")[0]
                                                : alone.gradient("layers.0.moe.router.baseline")[at(h)];
            CHECK(gradient == Approx(expected).margin(1e-7).epsilon(1e-4));
        }
    });
}

TEST_CASE("reinforce: policies that are certain, and experts that cannot be drawn, have finite gradients",
          "[unit]") {
    const float scale = GENERATE(0.0F, 1e7F, 1e30F);
    MoeConfig config = router_config("reinforce", 5, 3);
    config.balance.entropy_bonus = 0.3;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Alone alone(world, config, 6);
        const TestMatrix x(8, 6, 3, 1.0F);
        for (float& weight : alone.weight("layers.0.moe.router")) weight *= scale;
        const std::vector<float> loss(8, 0.5F);
        const PassInfo pass = pass_of(0, 8, 1, loss);
        const Routing routing = alone.router.route(x.view(), pass, alone.session.context);
        RouterGradients gradients;
        alone.router.strategy().add_gradient(x.view(), routing, pass, gradients, alone.session.context);
        for (const float gradient : gradients.logit.values<float>())
            SY_REQUIRE(std::isfinite(gradient), "NaN");
    });
}

TEST_CASE("reinforce: weights carry no gradient, whatever the experts report", "[unit]") {
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Alone alone(world, router_config("reinforce", 3, 2), 4);
        const TestMatrix x(4, 4, 3, 1.0F);
        const PassInfo pass = pass_of(0, 4, 1, {});
        const Routing routing = alone.router.route(x.view(), pass, alone.session.context);
        RouterGradients gradients;
        gradients.weight = Tensor(alone.session.device, DType::f32, {4, 2});
        std::ranges::fill(gradients.weight.values<float>(), 3.0F);
        TestMatrix dx(4, 4, 1, 1.0F);
        alone.router.backward(x.view(), routing, gradients, pass, dx.view(), alone.session.context);
        for (const float value : dx.values) CHECK(value == 0.0F);
        CHECK_THROWS_WITH(
            alone.router.strategy().add_gradient(x.view(), routing, pass, gradients, alone.session.context),
            Catch::Contains("0 rewards for 4 tokens"));
    });
}

TEST_CASE("reinforce: draws follow Plackett and Luce in training and are the highest otherwise", "[unit]") {
    constexpr index_t kTokens = 40000;
    const double p[] = {0.6, 0.3, 0.1};
    TestMatrix logits(kTokens, 3);
    for (std::size_t i = 0; i < logits.values.size(); ++i)
        logits.values[i] = static_cast<float>(std::log(p[i % 3]));
    const MoeConfig config = router_config("reinforce", 3, 2);
    const test::Chosen drawn = test::choose(config, logits, 1, Use::train);
    for (std::int32_t first = 0; first < 3; ++first) {
        for (std::int32_t second = 0; second < 3; ++second) {
            const auto count = std::ranges::count(drawn.experts, std::vector<std::int32_t>{first, second});
            const double expected = first == second ? 0.0 : p[first] * p[second] / (1.0 - p[first]);
            const double deviation = std::sqrt(expected * (1.0 - expected) / static_cast<double>(kTokens));
            INFO(first << " then " << second);
            CHECK(static_cast<double>(count) / static_cast<double>(kTokens) ==
                  Approx(expected).margin(4.0 * deviation));
        }
    }
    for (const int ranks : {2, 3, 4, 8}) CHECK(test::choose(config, logits, ranks, Use::train) == drawn);
    for (const Use use : {Use::evaluate, Use::generate}) {
        for (const auto& token : test::choose(config, logits, 2, use).experts)
            REQUIRE(token == std::vector<std::int32_t>{0, 1});
    }
}

TEST_CASE("reinforce: the policy finds the expert that helps each kind of token", "[unit]") {
    MoeConfig config = router_config("reinforce", 4, 1);
    config.balance.z_loss = 0.0;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        constexpr index_t kTokens = 32;
        constexpr index_t kKinds = 4;
        const std::int32_t helpful[kKinds] = {2, 0, 3, 1};
        Alone alone(world, config, kKinds);
        TestMatrix x(kTokens, kKinds);
        for (index_t t = 0; t < kTokens; ++t) x.values[at(t * kKinds + t % kKinds)] = 1.0F;
        for (index_t step = 0; step < 400; ++step) {
            std::vector<float> loss(kTokens);
            const PassInfo pass = pass_of(0, kTokens, step, loss);
            const Routing routing = alone.router.route(x.view(), pass, alone.session.context);
            for (index_t t = 0; t < kTokens; ++t) {
                // Some kinds of token are harder than others: what the baseline has to learn.
                const bool right = routing.expert.values<std::int32_t>()[at(t)] == helpful[t % kKinds];
                loss[at(t)] = (right ? 0.5F : 2.0F) + static_cast<float>(t % kKinds);
            }
            alone.parameters.zero_gradients();
            RouterGradients gradients;
            alone.router.strategy().add_gradient(x.view(), routing, pass, gradients, alone.session.context);
            TestMatrix dx(kTokens, kKinds);
            alone.router.backward(x.view(), routing, gradients, pass, dx.view(), alone.session.context);
            for (const char* name : {"layers.0.moe.router", "layers.0.moe.router.baseline",
                                     "layers.0.moe.router.baseline_offset"}) {
                const std::span<const float> gradient = alone.gradient(name);
                const std::span<float> weight = alone.weight(name);
                for (std::size_t i = 0; i < weight.size(); ++i) weight[i] -= 0.5F * gradient[i];
            }
        }
        PassInfo inference = pass_of(0, kTokens, 0, {});
        inference.use = Use::evaluate;
        const Routing routing = alone.router.route(x.view(), inference, alone.session.context);
        for (index_t t = 0; t < kTokens; ++t) {
            CHECK(routing.expert.values<std::int32_t>()[at(t)] == helpful[t % kKinds]);
            CHECK(routing.scores.matrix<float>()(t, helpful[t % kKinds]) > 0.9F);
        }
    });
}

TEST_CASE("reinforce: what it cannot do is refused with a remedy", "[unit]") {
    ModelConfig model;
    MoeConfig moe = router_config("reinforce", 8, 2);
    moe.balance.switch_loss = 0.01;
    CHECK(model_problems(model, moe).empty());
    moe.score = Score::sigmoid;
    moe.noise = LogitNoise::gaussian;
    for (const Architecture architecture : {Architecture::encoder, Architecture::encoder_decoder}) {
        model.architecture = architecture;
        const std::vector<std::string> problems = model_problems(model, moe);
        std::string all;
        for (const std::string& problem : problems) all += problem + "\n";
        CHECK_THAT(all, Catch::Contains("use a decoder or another router"));
        CHECK_THAT(all, Catch::Contains("set moe.score=softmax"));
        CHECK_THAT(all, Catch::Contains("moe.noise=none"));
    }
}
