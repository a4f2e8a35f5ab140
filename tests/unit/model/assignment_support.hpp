#pragma once

#include "comm/local/local_fabric.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/strategy.hpp"
#include "tests/support/session.hpp"

#include <utility>

/// A routing strategy on thread ranks, without a model around it.
namespace sy::test {

/// Choices and weights of all tokens in global order; kNoExpert is left out.
struct Chosen {
    std::vector<std::vector<std::int32_t>> experts;
    std::vector<std::vector<float>> weights;

    std::vector<index_t> load(index_t num_experts) const {
        std::vector<index_t> counts(static_cast<std::size_t>(num_experts), 0);
        for (const auto& token : experts) {
            for (const std::int32_t e : token) ++counts[static_cast<std::size_t>(e)];
        }
        return counts;
    }
    bool operator==(const Chosen&) const = default;
};

/// @param logits  [T, E] of the global batch, sharded over the ranks as ascending runs
inline Chosen choose(const model::MoeConfig& config, const TestMatrix& logits, int ranks, model::Use use) {
    const auto count = static_cast<std::size_t>(logits.rows);
    Chosen all{std::vector<std::vector<std::int32_t>>(count), std::vector<std::vector<float>>(count)};
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        TestSession session(world.rank() % 2 + 1);
        const std::unique_ptr<model::RoutingStrategy> strategy = model::make_strategy(config);
        const model::WeightRule rule = strategy->weights();
        const Range mine = part_of(logits.rows, ranks, world.rank());
        model::PassInfo pass;
        pass.batch = {mine.begin, logits.rows, 3, 0, 1};
        pass.use = use;
        pass.seed = 9;
        const MatrixView<const float> own = logits.view().rows_of(mine);
        Tensor scores(session.device, DType::f32, {own.rows, own.cols});
        Tensor lse(session.device, DType::f32, {own.rows});
        ops::gate_scores(rule.score, own, scores, lse, session.context);
        const MatrixView<const float> scores_te = std::as_const(scores).matrix<float>();
        const Tensor expert = strategy->choose({own, scores_te, pass, 1, world}, session.context);
        const MatrixView<const std::int32_t> expert_tk = expert.matrix<std::int32_t>();
        Tensor weight(session.device, DType::f32, expert.shape());
        ops::gate_weights(
            {scores_te, expert_tk, rule.renormalise ? ops::Renormalise::yes : ops::Renormalise::no,
             static_cast<float>(rule.scale)},
            weight.matrix<float>(), session.context);
        for (index_t t = 0; t < expert_tk.rows; ++t) {
            for (index_t j = 0; j < expert_tk.cols; ++j) {
                if (expert_tk(t, j) == model::kNoExpert) continue;
                all.experts[static_cast<std::size_t>(mine.begin + t)].push_back(expert_tk(t, j));
                all.weights[static_cast<std::size_t>(mine.begin + t)].push_back(weight.matrix<float>()(t, j));
            }
        }
    });
    return all;
}

inline model::MoeConfig router_config(const char* router, index_t experts, index_t top_k) {
    model::MoeConfig config;
    config.router = router;
    config.experts = experts;
    config.top_k = top_k;
    config.balance.switch_loss = 0.0;
    return config;
}

}  // namespace sy::test
