// Chance in routing: noise on logits, drawn second choices, rounded routers; their gradients and their layouts.
#include <catch2/catch.hpp>

#include <bit>
#include <functional>

#include "tests/unit/model/checks.hpp"
#include "tests/unit/model/router_harness.hpp"

using namespace sy;
using namespace sy::model;
using test::TestMatrix;

namespace {

constexpr index_t kTokens = test::kRouterTokens;
constexpr index_t kHidden = test::kRouterHidden;
constexpr index_t kFirst = 24;  ///< this rank's first token among all
constexpr std::uint64_t kSeed = 9;

MoeConfig no_losses() {
    MoeConfig moe;
    moe.experts = 6;
    moe.top_k = 2;
    moe.balance.switch_loss = 0.0;
    moe.balance.z_loss = 0.0;
    return moe;
}

/// A router in one training pass, with weights that are not zero.
struct Trained {
    test::TestSession session{2};
    ModelConfig config;
    Parameters parameters;
    LayerContext shared;
    std::unique_ptr<Router> router;
    TestMatrix x{kTokens, kHidden, 8};
    PassInfo pass;

    explicit Trained(const MoeConfig& moe, comm::Communicator& world)
        : config(with_hidden()),
          parameters(mixture_blueprint(config, moe), comm::block_placements({true}, moe.experts, 1), 0,
                     DType::f32, session.context),
          shared{config, parameters, [](ParameterId) {}},
          router(std::make_unique<Router>(shared, moe, kFirstMixture, world)) {
        parameters.allocate(3);
        const std::span<float> weights = parameters.group(Sharding::replicated).weights.values<float>();
        const TestMatrix random(1, static_cast<index_t>(weights.size()), 5);
        for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.6F * random.values[i];
        pass.batch = {kFirst, 2 * kFirst, 3, 0, 1};
        pass.seed = kSeed;
        pass.seq_len = test::kRouterSequence;
    }
    static ModelConfig with_hidden() {
        ModelConfig config;
        config.hidden = kHidden;
        return config;
    }
    Routing route() { return router->route(x.view(), pass, session.context); }
};

/// Calls body with a router on one rank.
void with_router(const MoeConfig& moe, const std::function<void(Trained&)>& body) {
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Trained trained(moe, world);
        body(trained);
    });
}

std::vector<float> logits_of(MoeConfig moe, LogitNoise noise) {
    moe.noise = noise;
    std::vector<float> result;
    with_router(moe, [&](Trained& trained) {
        const Routing routing = trained.route();
        const auto logits = routing.logits.values<float>();
        result.assign(logits.begin(), logits.end());
    });
    return result;
}

/// Noisy top-k and its losses in double, the noise being given.
struct NoisyReference {
    std::vector<double> x, w, w_noise, eps, dweight;
    double importance_coefficient = 0.0;
    double load_coefficient = 0.0;
    double load_value = 0.0;

    double operator()() {
        constexpr std::size_t kExperts = 6;
        constexpr std::size_t kTopK = 2;
        std::vector<double> load(kExperts, 0.0);
        std::vector<double> importance(kExperts, 0.0);
        double total = 0.0;
        for (std::size_t t = 0; t < static_cast<std::size_t>(kTokens); ++t) {
            std::vector<double> clean(kExperts, 0.0), scale(kExperts, 0.0), noisy(kExperts);
            for (std::size_t e = 0; e < kExperts; ++e) {
                for (std::size_t h = 0; h < static_cast<std::size_t>(kHidden); ++h) {
                    const double value = x[t * static_cast<std::size_t>(kHidden) + h];
                    clean[e] += value * w[h * kExperts + e];
                    scale[e] += value * w_noise[h * kExperts + e];
                }
                scale[e] = std::log(1.0 + std::exp(scale[e])) + 0.01;
                noisy[e] = clean[e] + eps[t * kExperts + e] * scale[e];
            }
            const auto chosen = test::highest(noisy, kTopK);
            const double sum = std::exp(noisy[chosen[0]]) + std::exp(noisy[chosen[1]]);
            for (std::size_t j = 0; j < kTopK; ++j) {
                const double weight = std::exp(noisy[chosen[j]]) / sum;
                total += dweight[t * kTopK + j] * weight;
                importance[chosen[j]] += weight;
            }
            for (std::size_t e = 0; e < kExperts; ++e) {
                std::vector<double> others = noisy;
                others.erase(others.begin() + static_cast<std::ptrdiff_t>(e));
                const double threshold = others[test::highest(others, kTopK).back()];
                load[e] += 0.5 * std::erfc(-(clean[e] - threshold) / scale[e] / std::sqrt(2.0));
            }
        }
        load_value = variation(load);
        return total + importance_coefficient * variation(importance) + load_coefficient * load_value;
    }

    static double variation(const std::vector<double>& sums) {
        double mean = 0.0;
        double square = 0.0;
        for (const double sum : sums) {
            mean += sum / static_cast<double>(sums.size());
            square += sum * sum / static_cast<double>(sums.size());
        }
        return (square - mean * mean) / (mean * mean + 1e-10);
    }
};

void check_slopes(std::vector<double>& values, std::span<const float> ours, NoisyReference& objective) {
    REQUIRE(values.size() == ours.size());
    std::vector<double> slopes;
    for (double& value : values) {
        const double kept = value;
        constexpr double kStep = 1e-6;
        value = kept + kStep;
        const double above = objective();
        value = kept - kStep;
        slopes.push_back((above - objective()) / (2.0 * kStep));
        value = kept;
    }
    double largest = 0.0;
    for (const double slope : slopes) largest = std::max(largest, std::fabs(slope));
    REQUIRE(largest > 1e-3);
    for (std::size_t i = 0; i < slopes.size(); ++i)
        CHECK(static_cast<double>(ours[i]) == Approx(slopes[i]).margin(3e-5 * largest));
}

}  // namespace

TEST_CASE("router noise: gaussian and gumbel are the stream's draws for the global token, in training only",
          "[unit]") {
    MoeConfig moe = no_losses();
    moe.noise_std = 0.5;
    const std::vector<float> plain = logits_of(moe, LogitNoise::none);
    const std::vector<float> gaussian = logits_of(moe, LogitNoise::gaussian);
    const std::vector<float> gumbel = logits_of(moe, LogitNoise::gumbel);
    const RandomKey key{kSeed, 3, 0, RandomPurpose::router_noise};
    for (std::size_t i = 0; i < plain.size(); ++i) {
        const auto element = static_cast<std::uint64_t>(kFirst * moe.experts) + i;
        CHECK(gaussian[i] == Approx(plain[i] + 0.5F * normal(key, element)).margin(1e-6));
        const double u = static_cast<double>(uniform(key, element));
        CHECK(static_cast<double>(gumbel[i]) ==
              Approx(static_cast<double>(plain[i]) - 0.5 * std::log(-std::log(u))).margin(1e-6));
    }
    for (const LogitNoise noise : {LogitNoise::gaussian, LogitNoise::gumbel, LogitNoise::learned}) {
        moe.noise = noise;
        with_router(moe, [&](Trained& trained) {
            trained.pass.use = Use::evaluate;
            const Routing routing = trained.route();
            CHECK(routing.noise.empty());
            if (noise == LogitNoise::learned) return;
            CHECK(std::ranges::equal(routing.logits.values<float>(), plain));
        });
    }
}

TEST_CASE("router noise: noisy top-k begins even, and its noise has the scale softplus + 0.01", "[unit]") {
    MoeConfig moe = no_losses();
    moe.noise = LogitNoise::learned;
    with_router(moe, [&](Trained& trained) {
        FlatGroup& flat = trained.parameters.group(Sharding::replicated);
        trained.parameters.allocate(4);
        CHECK(std::ranges::all_of(flat.weights.values<float>(), [](float w) { return w == 0.0F; }));
        const Routing routing = trained.route();
        for (const float scale : routing.noise_scale.values<float>())
            CHECK(scale == Approx(std::log(2.0) + 0.01).epsilon(1e-6));
        for (std::size_t i = 0; i < routing.logits.values<float>().size(); ++i) {
            CHECK(routing.logits.values<float>()[i] ==
                  routing.noise.values<float>()[i] * routing.noise_scale.values<float>()[i]);
        }
    });
}

TEST_CASE("router noise: gradients of input, weights and noise weights are those of the formulas in double",
          "[unit]") {
    MoeConfig moe = no_losses();
    moe.noise = LogitNoise::learned;
    moe.balance.load_loss = GENERATE(0.0, 2.0);
    moe.balance.importance_loss = GENERATE(0.0, 1.5);
    with_router(moe, [&](Trained& trained) {
        const Routing routing = trained.route();
        std::vector<index_t> load(static_cast<std::size_t>(moe.experts), 0);
        const RoutedBatch routed{routing, trained.pass, trained.session.context};
        RouterGradients gradients;
        const TestMatrix dweight(kTokens, moe.top_k, 9);
        gradients.weight = Tensor(trained.session.context.device, DType::f32, routing.weight.shape());
        std::ranges::copy(dweight.values, gradients.weight.values<float>().begin());
        double load_value = 0.0;
        for (const auto& loss : make_router_losses(moe)) {
            test::SumWords words(loss->num_sums());
            loss->add_sums(routed, words);
            const std::vector<ExactSum> sums = words.sums();
            const LossTotals totals{load, sums, kTokens};
            if (loss->name() == "load_loss") load_value = loss->value(totals);
            loss->add_gradient(routed, totals, loss->coefficient(), gradients);
        }
        TestMatrix dx(kTokens, kHidden);
        trained.router->backward(trained.x.view(), routing, gradients, trained.pass, dx.view(),
                                 trained.session.context);
        const FlatGroup& flat = trained.parameters.group(Sharding::replicated);
        const auto size = static_cast<std::size_t>(kHidden * moe.experts);
        NoisyReference reference;
        reference.x = test::in_double(trained.x.values);
        reference.w = test::in_double(flat.weights.values<float>().first(size));
        reference.w_noise = test::in_double(flat.weights.values<float>().subspan(size, size));
        reference.eps = test::in_double(routing.noise.values<float>());
        reference.dweight = test::in_double(dweight.values);
        reference.importance_coefficient = moe.balance.importance_loss;
        reference.load_coefficient = moe.balance.load_loss;
        reference();
        if (moe.balance.load_loss > 0.0) CHECK(load_value == Approx(reference.load_value).epsilon(1e-6));
        check_slopes(reference.x, dx.values, reference);
        check_slopes(reference.w, flat.gradient.values<float>().first(size), reference);
        check_slopes(reference.w_noise, flat.gradient.values<float>().subspan(size, size), reference);
    });
}

TEST_CASE("load loss: chances that are certain have a finite value and finite gradients", "[unit]") {
    constexpr index_t kTokens = 4;
    MoeConfig moe;
    moe.experts = 6;
    moe.top_k = 2;
    moe.balance.switch_loss = moe.balance.z_loss = 0.0;
    moe.balance.load_loss = 1.0;
    test::TestSession session;
    Routing routing;
    for (Tensor* const part :
         {&routing.clean, &routing.noise, &routing.noise_scale, &routing.logits, &routing.scores})
        *part = Tensor(session.context.device, DType::f32, {kTokens, moe.experts});
    routing.noise.fill_zero();
    routing.scores.fill_zero();
    const float size = GENERATE(0.0F, 1e6F, 1e30F);
    for (std::size_t i = 0; i < static_cast<std::size_t>(kTokens * moe.experts); ++i) {
        routing.clean.values<float>()[i] = i % 2 == 0 ? size : -size;
        routing.logits.values<float>()[i] = routing.clean.values<float>()[i];
        routing.noise_scale.values<float>()[i] = i % 3 == 0 ? 1e30F : 0.01F;
    }
    const std::vector<index_t> load(static_cast<std::size_t>(moe.experts), 1);
    PassInfo pass;
    pass.batch = {0, kTokens, 1, 0, 1};
    const RoutedBatch routed{routing, pass, session.context};
    const auto losses = make_router_losses(moe);
    test::SumWords words(losses[0]->num_sums());
    losses[0]->add_sums(routed, words);
    const std::vector<ExactSum> sums = words.sums();
    const LossTotals totals{load, sums, kTokens};
    CHECK(std::isfinite(losses[0]->value(totals)));
    RouterGradients gradients;
    losses[0]->add_gradient(routed, totals, 1.0, gradients);
    for (const Tensor* const part : {&gradients.clean_logit, &gradients.logit, &gradients.noise_scale}) {
        for (const float gradient : part->values<float>()) CHECK(std::isfinite(gradient));
    }
}

TEST_CASE("random second: it goes out with twice its weight, and the first keeps its own", "[unit]") {
    MoeConfig moe = no_losses();
    moe.random_second = true;
    moe.routed_scale = 1.5;
    with_router(moe, [&](Trained& trained) {
        const Routing routing = trained.route();
        const RandomKey key{kSeed, 3, 0, RandomPurpose::second_choice};
        const auto expert = routing.expert.matrix<std::int32_t>();
        const auto sent = routing.sent().matrix<std::int32_t>();
        const auto weight = routing.weight.matrix<float>();
        index_t dropped = 0;
        for (index_t t = 0; t < kTokens; ++t) {
            CHECK(weight(t, 0) + weight(t, 1) == Approx(1.5F));
            CHECK(sent(t, 0) == expert(t, 0));
            const float draw = uniform(key, static_cast<std::uint64_t>(kFirst + t));
            const bool goes = draw < 2.0F * weight(t, 1) / 1.5F;
            CHECK(sent(t, 1) == (goes ? expert(t, 1) : kNoExpert));
            dropped += goes ? 0 : 1;
        }
        CHECK(dropped > 0);
        CHECK(dropped < kTokens);
        trained.pass.use = Use::evaluate;
        CHECK(trained.route().dispatched.empty());
    });
}

TEST_CASE("bf16 router: logits and scores are bf16 numbers near those of float32", "[unit]") {
    MoeConfig moe = no_losses();
    const std::vector<float> exact = logits_of(moe, LogitNoise::none);
    moe.router_dtype = DType::bf16;
    with_router(moe, [&](Trained& trained) {
        const Routing routing = trained.route();
        const auto logits = routing.logits.values<float>();
        bool differs = false;
        for (std::size_t i = 0; i < exact.size(); ++i) {
            CHECK((std::bit_cast<std::uint32_t>(logits[i]) & 0xffffU) == 0);
            CHECK(logits[i] == Approx(exact[i]).epsilon(0.02).margin(0.02));
            differs = differs || logits[i] != exact[i];
        }
        CHECK(differs);
        for (const float score : routing.scores.values<float>())
            CHECK((std::bit_cast<std::uint32_t>(score) & 0xffffU) == 0);
    });
}

TEST_CASE("layout: chance in routing trains to the same bits on every layout", "[unit]") {
    MoeConfig moe = test::tiny_moe();
    moe.layers = "all";
    moe.balance.importance_loss = 0.1;
    const int rule = GENERATE(0, 1, 2, 3, 4);
    INFO(rule);
    if (rule == 0) moe.noise = LogitNoise::gaussian;
    if (rule == 1) moe.noise = LogitNoise::gumbel;
    if (rule == 2) {
        moe.noise = LogitNoise::learned;
        moe.balance.load_loss = 0.1;
    }
    if (rule == 3) {
        moe.random_second = true;
        moe.capacity_factor = 1.0;
    }
    if (rule == 4) moe.router_dtype = DType::bf16;
    test::check_layouts({.moe = moe, .steps = 4});
}
