#include <mutex>
#include <utility>

#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/normal/normal.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/squared_variation.hpp"

namespace sy::model {
namespace {

/// How surely an expert is among a token's choices, were its noise drawn again: Phi(d), d = (clean - threshold) / scale,
/// the threshold being the K-th highest logit of the others. The K + 1 highest logits of a token are all that
/// thresholds can be: for the chosen the next one, for the others the last of the chosen.
class Chances {
  public:
    Chances(const RoutedBatch& routed, index_t top_k)
        : top_k_(top_k),
          best_(routed.context.arena, DType::i32, {routed.routing.logits.shape()[0], top_k + 1}),
          distance_(routed.context.arena, DType::f32, routed.routing.logits.shape()) {
        const MatrixView<const float> logits = routed.routing.logits.matrix<float>();
        const MatrixView<const float> clean = routed.routing.clean.matrix<float>();
        const MatrixView<const float> scale = routed.routing.noise_scale.matrix<float>();
        ops::gate_top_k(logits, best_.matrix<std::int32_t>(), routed.context);
        const MatrixView<float> out = distance_.matrix<float>();
        for_blocks(routed, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t) {
                const float others = logits(t, last_chosen(t));
                for (index_t e = 0; e < out.cols; ++e) out(t, e) = (clean(t, e) - others) / scale(t, e);
                const float next = logits(t, next_best(t));
                for (const std::int32_t e : chosen(t)) out(t, e) = (clean(t, e) - next) / scale(t, e);
            }
        });
    }

    MatrixView<const float> distance() const { return distance_.matrix<float>(); }
    std::span<const std::int32_t> chosen(index_t token) const {
        return best_.matrix<std::int32_t>().row_span(token).first(static_cast<std::size_t>(top_k_));
    }
    std::int32_t last_chosen(index_t token) const { return best_.matrix<std::int32_t>()(token, top_k_ - 1); }
    std::int32_t next_best(index_t token) const { return best_.matrix<std::int32_t>()(token, top_k_); }

    template <class Body>
    static void for_blocks(const RoutedBatch& routed, const Body& body) {
        routed.context.team.for_ranges(routed.routing.logits.shape()[0], 64, body);
    }

  private:
    index_t top_k_;
    Tensor best_;      ///< [T, K + 1]
    Tensor distance_;  ///< [T, E]
};

class LoadLoss : public RouterLoss {
  public:
    explicit LoadLoss(const MoeConfig& config)
        : coefficient_(config.balance.load_loss), experts_(config.experts), top_k_(config.top_k) {}

    std::string name() const override { return "load_loss"; }
    double coefficient() const override { return coefficient_; }
    index_t num_sums() const override { return experts_; }
    bool gradient_needs_sums() const override { return true; }

    void add_sums(const RoutedBatch& routed, std::span<ExactSum> sums) const override {
        // Without noise (evaluation) nothing is left to chance, and there is no loss.
        if (routed.routing.noise_scale.empty()) return;
        const Chances chances(routed, top_k_);
        Tensor chance(routed.context.arena, DType::f32, routed.routing.logits.shape());
        ops::normal_cdf(chances.distance(), chance.matrix<float>(), routed.context);
        // The order in which tasks add does not show.
        std::mutex adding;
        Chances::for_blocks(routed, [&](index_t begin, index_t end) {
            std::vector<ExactSum> own(sums.size());
            for (index_t t = begin; t < end; ++t) {
                const std::span<const float> row = std::as_const(chance).matrix<float>().row_span(t);
                for (std::size_t e = 0; e < own.size(); ++e) own[e].add(static_cast<double>(row[e]));
            }
            const std::lock_guard lock(adding);
            for (std::size_t e = 0; e < own.size(); ++e) sums[e] += own[e];
        });
    }

    double value(const LossTotals& totals) const override { return squared_variation(totals.sums); }

    void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                      RouterGradients& gradients) const override {
        if (routed.routing.noise_scale.empty()) return;
        const std::vector<double> slope = squared_variation_gradient(totals.sums);
        const MatrixView<float> dclean = dense_part(gradients.clean_logit, routed);
        const MatrixView<float> dlogit = dense_part(gradients.logit, routed);
        const MatrixView<float> dscale = dense_part(gradients.noise_scale, routed);
        const Chances chances(routed, top_k_);
        const MatrixView<const float> distance = chances.distance();
        const MatrixView<const float> deviation = routed.routing.noise_scale.matrix<float>();
        Tensor by_distance(routed.context.arena, DType::f32, routed.routing.logits.shape());
        const MatrixView<float> change = by_distance.matrix<float>();
        ops::normal_density(distance, change, routed.context);
        std::vector<float> factor;
        for (const double one : slope) factor.push_back(static_cast<float>(scale * one));
        Chances::for_blocks(routed, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t) {
                float total = 0.0F;
                for (index_t e = 0; e < experts_; ++e) {
                    change(t, e) *= factor[static_cast<std::size_t>(e)] / deviation(t, e);
                    dclean(t, e) += change(t, e);
                    dscale(t, e) -= change(t, e) * distance(t, e);
                    total += change(t, e);
                }
                float of_chosen = 0.0F;
                for (const std::int32_t e : chances.chosen(t)) of_chosen += change(t, e);
                dlogit(t, chances.next_best(t)) -= of_chosen;
                dlogit(t, chances.last_chosen(t)) -= total - of_chosen;
            }
        });
    }

  private:
    double coefficient_;
    index_t experts_;
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_load_loss(const MoeConfig& config) {
    return std::make_unique<LoadLoss>(config);
}

}  // namespace sy::model
