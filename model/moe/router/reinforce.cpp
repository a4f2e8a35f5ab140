#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/policy/policy.hpp"
#include "model/moe/router/router.hpp"

namespace sy::model {
namespace {

class Reinforce : public RoutingStrategy {
  public:
    explicit Reinforce(const MoeConfig& config)
        : RoutingStrategy({.score = Score::softmax,
                           .scaled_by_score = false,
                           .renormalise = false,
                           .scale = config.routed_scale}),
          top_k_(config.top_k),
          entropy_bonus_(config.balance.entropy_bonus),
          baseline_loss_(config.balance.baseline_loss) {}

    void find_parameters(LayerContext& shared, const LayerKey& key) override {
        shared_ = &shared;
        slope_ = shared.parameters.id({key, Role::baseline});
        offset_ = shared.parameters.id({key, Role::baseline, Piece::bias});
    }

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        if (!in.pass.training()) return highest_scores(in.logits, top_k_, context);
        Tensor noisy(context.device, DType::f32, {in.logits.rows(), in.logits.cols()});
        ops::policy_keys(in.logits, in.pass.random(in.layer_idx, RandomPurpose::router_action),
                         in.pass.batch.first_token, noisy, context);
        return highest_scores(noisy, top_k_, context);
    }

    void add_gradient(ConstTensorRef x, const Routing& routing, const PassInfo& pass,
                      RouterGradients& gradients, const Context& context) const override {
        const Parameters& parameters = shared_->parameters;
        const double share = 1.0 / static_cast<double>(pass.batch.global_tokens * pass.batch.accumulation);
        Tensor advantage(context.device, DType::f64, {x.rows()});
        ops::policy_advantage({x, parameters.weight(slope_), parameters.weight(offset_), pass.token_loss},
                              advantage, context);
        learn_baseline(x, advantage, share, pass.seq_len, context);
        ops::policy_backward({routing.logits, routing.lse, routing.expert, advantage, share, entropy_bonus_},
                             opened(gradients.logit, routing.logits.shape(), context), context);
    }

  private:
    void learn_baseline(ConstTensorRef x, ConstTensorRef advantage, double share, index_t block_rows,
                        const Context& context) const {
        Tensor dbaseline(context.device, DType::f32, {x.rows(), 1});
        ops::policy_baseline_backward(-2.0 * share * baseline_loss_, advantage, dbaseline, context);
        const ConstTensorRef dbaseline_t1 = dbaseline;
        ops::bias_backward(dbaseline_t1, 1, shared_->parameters.gradient(offset_), context);
        ops::add_weight_gradient(x, dbaseline_t1, block_rows, shared_->parameters.gradient(slope_), context);
        shared_->gradients_ready({slope_, offset_});
    }

    index_t top_k_;
    double entropy_bonus_;
    double baseline_loss_;
    LayerContext* shared_ = nullptr;  ///< the transformer's, which outlives its layers
    ParameterId slope_ = -1;
    ParameterId offset_ = -1;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_reinforce(const MoeConfig& config) {
    return std::make_unique<Reinforce>(config);
}

}  // namespace sy::model
