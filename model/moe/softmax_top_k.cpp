#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router.hpp"

namespace sy::model {
namespace {

class SoftmaxTopK : public RoutingStrategy {
  public:
    explicit SoftmaxTopK(const MoeConfig& config)
        : top_k_(config.top_k),
          renormalise_(config.renormalise ? ops::Renormalise::yes : ops::Renormalise::no) {}

    Routing choose(MatrixView<const float> logits, const Context& context) const override {
        Routing routing{Tensor(context.arena, DType::f32, {logits.rows, logits.cols}),
                        Tensor(context.arena, DType::i32, {logits.rows, top_k_}),
                        Tensor(context.arena, DType::f32, {logits.rows, top_k_}),
                        Tensor(context.arena, DType::f32, {logits.rows})};
        const MatrixView<float> scores = routing.scores.matrix<float>();
        ops::gate_softmax(logits, scores, routing.lse.values<float>(), context);
        ops::gate_top_k(scores, renormalise_, routing.expert.matrix<std::int32_t>(),
                        routing.weight.matrix<float>(), context);
        return routing;
    }

    void backward(const Routing& routing, const RouterGradients& gradients, MatrixView<float> dlogits,
                  const Context& context) const override {
        ops::gate_backward({routing.scores.matrix<float>(), routing.expert.matrix<std::int32_t>(),
                            gradients.weight, renormalise_, gradients.score, gradients.lse},
                           dlogits, context);
    }

  private:
    index_t top_k_;
    ops::Renormalise renormalise_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_softmax_top_k(const MoeConfig& config) {
    return std::make_unique<SoftmaxTopK>(config);
}

}  // namespace sy::model
