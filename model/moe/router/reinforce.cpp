#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/core/profile.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "model/moe/router/router.hpp"

namespace sy::model {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Logits plus -log(-log(u)), u of element token * E + e of the stream.
void add_gumbel(const RandomKey& key, index_t token, std::span<const float> logits, std::span<float> noisy) {
    std::array<std::uint32_t, 4> words{};
    auto block = ~std::uint64_t{0};
    for (std::size_t e = 0; e < logits.size(); ++e) {
        const std::uint64_t element = static_cast<std::uint64_t>(token) * logits.size() + e;
        if (element / 4 != block) {
            block = element / 4;
            words = philox(key, block);
        }
        const auto u = static_cast<double>(uniform_from(words[element % 4]));
        noisy[e] = static_cast<float>(static_cast<double>(logits[e]) - std::log(-std::log(u)));
    }
}

/// What one token's gradient needs of its policy.
struct Policy {
    std::span<const float> logits;
    std::vector<double> probability;

    /// d log pi(draws) / d logits, times `factor`: at each draw 1 for its expert, minus the softmax over those left.
    /// @param draws  [K] in the order drawn
    void add_log_probability(double factor, std::span<const std::int32_t> draws, std::span<double> gradient) {
        std::vector<double> left = probability;
        for (const std::int32_t draw : draws) {
            double sum = 0.0;
            for (const double p : left) sum += p;
            // Experts whose probability rounds to 0 are drawn only when nothing else is left.
            if (sum <= 0.0) return;
            gradient[at(draw)] += factor;
            for (std::size_t e = 0; e < left.size(); ++e) gradient[e] -= factor * left[e] / sum;
            left[at(draw)] = 0.0;
        }
    }

    /// d H / d logits, times `factor`: -p (log p + H).
    void add_entropy(double factor, float lse, std::span<double> gradient) const {
        double entropy = 0.0;
        for (std::size_t e = 0; e < logits.size(); ++e)
            entropy -= probability[e] * (static_cast<double>(logits[e]) - static_cast<double>(lse));
        for (std::size_t e = 0; e < logits.size(); ++e) {
            const double log_p = static_cast<double>(logits[e]) - static_cast<double>(lse);
            gradient[e] -= factor * probability[e] * (log_p + entropy);
        }
    }
};

class Reinforce : public RoutingStrategy {
  public:
    explicit Reinforce(const MoeConfig& config)
        : top_k_(config.top_k),
          entropy_bonus_(config.balance.entropy_bonus),
          baseline_loss_(config.balance.baseline_loss),
          rule_{.score = Score::softmax,
                .scaled_by_score = false,
                .renormalise = false,
                .scale = config.routed_scale} {}

    void register_parameters(LayerContext& shared, const std::string& name) override {
        shared_ = &shared;
        slope_ = shared.parameters.add(
            {.name = name + ".baseline", .shape = {shared.config.hidden, 1}, .init = Init::zeros});
        offset_ = shared.parameters.add(
            {.name = name + ".baseline_offset", .shape = {1}, .init = Init::zeros, .weight_decay = false});
    }

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor expert(context.arena, DType::i32, {in.logits.rows, top_k_});
        if (!in.pass.training()) {
            ops::gate_top_k(in.logits, expert.matrix<std::int32_t>(), context);
            return expert;
        }
        Tensor noisy(context.arena, DType::f32, {in.logits.rows, in.logits.cols});
        const MatrixView<float> noisy_te = noisy.matrix<float>();
        const RandomKey key = in.pass.random(in.layer_idx, RandomPurpose::router_action);
        context.team.for_ranges(noisy_te.rows, 8, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t)
                add_gumbel(key, in.pass.batch.first_token + t, in.logits.row_span(t), noisy_te.row_span(t));
        });
        ops::gate_top_k(noisy_te, expert.matrix<std::int32_t>(), context);
        return expert;
    }
    WeightRule weights() const override { return rule_; }

    void add_gradient(MatrixView<const float> x, const Routing& routing, const PassInfo& pass,
                      RouterGradients& gradients, const Context& context) const override {
        SY_REQUIRE(static_cast<index_t>(pass.token_loss.size()) == x.rows,
                   "reinforce: ", pass.token_loss.size(), " rewards for ", x.rows, " tokens");
        const double share = 1.0 / static_cast<double>(pass.batch.global_tokens * pass.batch.accumulation);
        const std::vector<double> advantage = advantages(x, pass.token_loss);
        learn_baseline(x, advantage, share, pass.seq_len, context);
        if (gradients.logit.empty()) {
            gradients.logit = Tensor(context.arena, DType::f32, routing.logits.shape());
            gradients.logit.fill_zero();
        }
        const MatrixView<const float> logits = routing.logits.matrix<float>();
        const MatrixView<const std::int32_t> draws = routing.expert.matrix<std::int32_t>();
        const std::span<const float> lse = routing.lse.values<float>();
        const MatrixView<float> target = gradients.logit.matrix<float>();
        const Timed timed(context, OpKind::routing, static_cast<double>(logits.rows * logits.cols * top_k_));
        context.team.for_ranges(logits.rows, 8, [&](index_t begin, index_t end) {
            std::vector<double> row(at(logits.cols));
            for (index_t t = begin; t < end; ++t) {
                std::ranges::fill(row, 0.0);
                Policy policy = policy_of(logits.row_span(t), lse[at(t)]);
                policy.add_log_probability(-share * advantage[at(t)], draws.row_span(t), row);
                if (entropy_bonus_ != 0.0) policy.add_entropy(-share * entropy_bonus_, lse[at(t)], row);
                for (index_t e = 0; e < logits.cols; ++e) target(t, e) += static_cast<float>(row[at(e)]);
            }
        });
    }

  private:
    static Policy policy_of(std::span<const float> logits, float lse) {
        Policy policy{logits, {}};
        for (const float logit : logits)
            policy.probability.push_back(std::exp(static_cast<double>(logit) - static_cast<double>(lse)));
        return policy;
    }

    /// r - b of every token.
    std::vector<double> advantages(MatrixView<const float> x, std::span<const float> token_loss) const {
        const MatrixView<const float> slope = shared_->parameters.weight<float>(slope_);
        const auto offset = static_cast<double>(shared_->parameters.weight<float>(offset_)(0, 0));
        std::vector<double> result(at(x.rows));
        for (index_t t = 0; t < x.rows; ++t) {
            double baseline = offset;
            for (index_t h = 0; h < x.cols; ++h)
                baseline += static_cast<double>(x(t, h)) * static_cast<double>(slope(h, 0));
            result[at(t)] = -static_cast<double>(token_loss[at(t)]) - baseline;
        }
        return result;
    }

    void learn_baseline(MatrixView<const float> x, std::span<const double> advantage, double share,
                        index_t block_rows, const Context& context) const {
        Tensor dbaseline(context.arena, DType::f32, {x.rows, 1});
        const std::span<float> values = dbaseline.values<float>();
        for (std::size_t t = 0; t < advantage.size(); ++t)
            values[t] = static_cast<float>(-2.0 * share * baseline_loss_ * advantage[t]);
        const GradientView offset = shared_->parameters.gradient(offset_);
        for (const float& value : values) accumulate(std::span<const float>(&value, 1), 0, offset);
        ops::add_weight_gradient<float>(x, std::as_const(dbaseline).matrix<float>(), block_rows,
                                        shared_->parameters.gradient(slope_), context);
        shared_->gradient_ready(slope_);
        shared_->gradient_ready(offset_);
    }

    index_t top_k_;
    double entropy_bonus_;
    double baseline_loss_;
    WeightRule rule_;
    LayerContext* shared_ = nullptr;  ///< the transformer's, which outlives its layers
    ParameterId slope_ = -1;
    ParameterId offset_ = -1;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_reinforce(const MoeConfig& config) {
    return std::make_unique<Reinforce>(config);
}

}  // namespace sy::model
