#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "comm/local/local_fabric.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/squared_variation.hpp"
#include "tests/support/session.hpp"
#include "tests/support/sum_words.hpp"

/// A router alone on one rank, and the same in double.
namespace sy::test {

inline constexpr index_t kRouterTokens = 12;
inline constexpr index_t kRouterHidden = 6;
inline constexpr index_t kRouterSequence = 4;

/// One token's routing in double.
struct ReferenceToken {
    std::vector<double> score;
    std::vector<std::size_t> expert;
    std::vector<double> weight;
};
using ReferenceRouting = std::vector<ReferenceToken>;

inline std::vector<std::size_t> highest(const std::vector<double>& values, index_t count) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return values[a] > values[b]; });
    order.resize(static_cast<std::size_t>(count));
    return order;
}

/// The experts of one token by the papers: bias, groups, top-k. @param bias  [E] or empty
inline std::vector<std::size_t> reference_choice(const model::MoeConfig& moe, std::vector<double> score,
                                                 const std::vector<double>& bias) {
    for (std::size_t e = 0; e < bias.size(); ++e) score[e] += bias[e];
    if (moe.router == "group_limited") {
        const auto size = static_cast<std::size_t>(moe.experts / moe.groups);
        std::vector<double> group(static_cast<std::size_t>(moe.groups), 0.0);
        for (std::size_t g = 0; g < group.size(); ++g) {
            const std::vector<double> own(score.begin() + static_cast<std::ptrdiff_t>(g * size),
                                          score.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
            const index_t counted =
                moe.group_score == model::GroupScore::top_sum ? moe.top_k / moe.group_limit : 1;
            for (const std::size_t e : highest(own, counted)) group[g] += own[e];
        }
        std::vector<double> open(score.size(), -HUGE_VAL);
        for (const std::size_t g : highest(group, moe.group_limit)) {
            for (std::size_t e = g * size; e < (g + 1) * size; ++e) open[e] = score[e];
        }
        score = open;
    }
    return highest(score, moe.top_k);
}

/// @param x  [T, H]  @param w  [H, E]
inline ReferenceRouting reference_routing(const model::MoeConfig& moe, const std::vector<double>& x,
                                          const std::vector<double>& w, const std::vector<double>& bias) {
    const auto experts = static_cast<std::size_t>(moe.experts);
    const auto hidden = static_cast<std::size_t>(kRouterHidden);
    ReferenceRouting routing;
    for (std::size_t t = 0; t < x.size() / hidden; ++t) {
        ReferenceToken token;
        token.score.assign(experts, 0.0);
        for (std::size_t e = 0; e < experts; ++e) {
            for (std::size_t h = 0; h < hidden; ++h) token.score[e] += x[t * hidden + h] * w[h * experts + e];
        }
        double total = 0.0;
        for (double& value : token.score) {
            value = moe.score == model::Score::softmax ? std::exp(value) : 1.0 / (1.0 + std::exp(-value));
            total += value;
        }
        if (moe.score == model::Score::softmax) {
            for (double& value : token.score) value /= total;
        }
        token.expert = reference_choice(moe, token.score, bias);
        double chosen = 0.0;
        for (const std::size_t e : token.expert) chosen += token.score[e];
        for (const std::size_t e : token.expert)
            token.weight.push_back(moe.routed_scale * token.score[e] / (moe.renormalise ? chosen : 1.0));
        routing.push_back(std::move(token));
    }
    return routing;
}

/// A router with its one weight, and the gradients of sum(dweight * weight) + the losses.
struct RouterRun {
    std::vector<double> x, w, dw, dx, dweight;
    std::vector<double> losses;
    std::vector<std::int32_t> expert;
};

inline std::vector<double> in_double(std::span<const float> values) {
    return {values.begin(), values.end()};
}

/// @param bias  set as the strategy's state if not empty
inline RouterRun run_router(const model::MoeConfig& moe, const std::vector<double>& bias, float deviation) {
    RouterRun run;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        TestSession session(2);
        model::ModelConfig config;
        config.hidden = kRouterHidden;
        config.init_std = static_cast<double>(deviation);
        model::Parameters parameters(model::mixture_blueprint(config, moe),
                                     comm::block_placements({true}, moe.experts, 1), 0, DType::f32,
                                     session.context);
        model::LayerContext shared{config, parameters, [](model::ParameterId) {}};
        model::Router router(shared, moe, model::kFirstMixture, world);
        parameters.allocate(3);
        std::ranges::copy(bias, router.strategy().state().begin());
        const TestMatrix x(kRouterTokens, kRouterHidden, 8);
        model::PassInfo pass;
        pass.batch = {0, kRouterTokens, 1, 0, 1};
        pass.seq_len = kRouterSequence;
        const model::Routing routing = router.route(x.view(), pass, session.context);
        std::vector<index_t> load(static_cast<std::size_t>(moe.experts), 0);
        const auto expert = routing.expert.values<std::int32_t>();
        for (const std::int32_t e : expert) ++load[static_cast<std::size_t>(e)];
        const model::RoutedBatch routed{routing, pass, session.context};
        model::RouterGradients gradients;
        const TestMatrix dweight(kRouterTokens, moe.top_k, 9);
        gradients.weight = Tensor(session.context.device, DType::f32, routing.weight.shape());
        std::ranges::copy(dweight.values, gradients.weight.values<float>().begin());
        for (const auto& loss : model::make_router_losses(moe)) {
            SumWords words(loss->num_sums());
            loss->add_sums(routed, words);
            const std::vector<ExactSum> sums = words.sums();
            const model::LossTotals totals{load, sums, kRouterTokens};
            run.losses.push_back(loss->value(totals));
            loss->add_gradient(routed, totals, loss->coefficient(), gradients);
        }
        TestMatrix dx(kRouterTokens, kRouterHidden);
        router.backward(x.view(), routing, gradients, pass, dx.view(), session.context);
        model::FlatGroup& flat = parameters.group(model::Sharding::replicated);
        const auto size = static_cast<std::size_t>(kRouterHidden * moe.experts);
        run.x = in_double(x.values);
        run.w = in_double(flat.weights.values<float>().first(size));
        run.dw = in_double(flat.gradient.values<float>().first(size));
        run.dx = in_double(dx.values);
        run.dweight = in_double(dweight.values);
        run.expert.assign(expert.begin(), expert.end());
    });
    return run;
}

}  // namespace sy::test
