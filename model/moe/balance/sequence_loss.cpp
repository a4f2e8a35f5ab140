#include "kernels/ops/copy/copy.hpp"
#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

/// f of every sequence and expert, [S, E] f64.
Tensor frequencies(const RoutedBatch& routed, index_t top_k) {
    const index_t tokens = routed.scores().rows();
    const index_t experts = routed.scores().cols();
    const index_t length = routed.pass.seq_len;
    SY_REQUIRE(tokens % length == 0, "sequence loss: ", tokens, " tokens are not whole sequences of ",
               length);
    const Tensor highest = highest_scores(routed.scores(), top_k, routed.context);
    const double unit = static_cast<double>(experts) / static_cast<double>(top_k * length);
    Tensor frequency(routed.context.device, DType::f64, {tokens / length, experts});
    ops::sequence_frequencies(highest, unit, frequency, routed.context);
    return frequency;
}

/// The sums are the terms of all sequences, and how many sequences there are.
class SequenceLoss : public RouterLoss {
  public:
    explicit SequenceLoss(const MoeConfig& config)
        : RouterLoss({"sequence_loss", config.balance.sequence_loss, 2}), top_k_(config.top_k) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        const Tensor frequency = frequencies(routed, top_k_);
        ops::sequence_sum(routed.routing.score, routed.scores(), frequency, sums.rows_of({0, 1}),
                          routed.context);
        Tensor ones(routed.context.device, DType::f32, {frequency.shape()[0]});
        ops::fill(1.0F, ones, routed.context);
        ops::value_sum(ones, sums.rows_of({1, 2}), routed.context);
    }

    double value(const LossTotals& totals) const override {
        return totals.sums[0].value() / totals.sums[1].value();
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals&, double scale,
                      RouterGradients& gradients) const override {
        // 1 / (sequences * length): all sequences of a batch are equally long.
        ops::sequence_backward(scale / routed.global_tokens(), frequencies(routed, top_k_),
                               opened(gradients.token_share, routed.routing.scores.shape(), routed.context),
                               routed.context);
    }

  private:
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_sequence_loss(const MoeConfig& config) {
    return std::make_unique<SequenceLoss>(config);
}

}  // namespace sy::model
