#include "kernels/ops/normal/normal.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/squared_variation.hpp"

namespace sy::model {
namespace {

/// The logits with their K + 1 highest, and the distances whose probabilities are the chances.
struct Distances {
    Tensor best;   ///< [T, K + 1]
    Tensor value;  ///< [T, E]
    ops::Chances chances;

    Distances(const RoutedBatch& routed, index_t top_k)
        : best(highest_scores(routed.routing.logits, top_k + 1, routed.context)),
          value(routed.context.device, DType::f32, routed.routing.logits.shape()),
          chances{routed.routing.logits, routed.routing.clean, routed.routing.noise_scale, best} {
        ops::chance_distances(chances, value, routed.context);
    }
};

class LoadLoss : public RouterLoss {
  public:
    explicit LoadLoss(const MoeConfig& config)
        : RouterLoss({"load_loss", config.balance.load_loss, config.experts, true}), top_k_(config.top_k) {}

    void add_sums(const RoutedBatch& routed, TensorRef sums) const override {
        // Without noise (evaluation) nothing is left to chance, and there is no loss.
        if (routed.routing.noise_scale.empty()) return;
        Distances distances(routed, top_k_);
        Tensor& chance = distances.value;
        ops::normal_cdf(chance, chance, routed.context);
        // Chances are added as they are, as softmax scores would be.
        ops::share_sums(ops::Score::softmax, chance, sums, routed.context);
    }

    double value(const LossTotals& totals) const override { return squared_variation(totals.sums); }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        if (routed.routing.noise_scale.empty()) return;
        const Context& context = routed.context;
        const Shape& shape = routed.routing.logits.shape();
        Distances distances(routed, top_k_);
        Tensor density(context.device, DType::f32, shape);
        ops::normal_density(distances.value, density, context);
        ops::chance_backward(
            distances.chances, squared_variation_gradient(totals.sums, scale), distances.value, density,
            {opened(gradients.clean_logit, shape, context), opened(gradients.logit, shape, context),
             opened(gradients.noise_scale, shape, context)},
            context);
    }

  private:
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_load_loss(const MoeConfig& config) {
    return std::make_unique<LoadLoss>(config);
}

}  // namespace sy::model
