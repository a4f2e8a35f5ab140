#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <numbers>

#include "kernels/ops/gate/gate.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/balance/sums.hpp"

namespace sy::model {
namespace {

/// How surely an expert is among a token's choices, were its noise drawn again: Phi((clean - threshold) / scale), the
/// threshold being the K-th highest logit of the others.
struct Chance {
    index_t rival = 0;  ///< the expert whose logit is the threshold
    double distance = 0.0;
    double scale = 1.0;

    double value() const { return 0.5 * std::erfc(-distance / std::numbers::sqrt2); }
    double density() const {
        return std::exp(-0.5 * distance * distance) / std::sqrt(2.0 * std::numbers::pi);
    }
};

/// The K + 1 highest logits of each token are all that thresholds can be.
class Chances {
  public:
    Chances(const RoutedBatch& routed, index_t top_k)
        : routing_(routed.routing),
          top_k_(top_k),
          best_(routed.context.arena, DType::i32, {routed.routing.logits.shape()[0], top_k + 1}) {
        ops::gate_top_k(routing_.logits.matrix<float>(), best_.matrix<std::int32_t>(), routed.context);
    }

    Chance of(index_t token, index_t expert) const {
        const std::span<const std::int32_t> best = best_.matrix<std::int32_t>().row_span(token);
        // Without an expert that is chosen, the one behind the chosen ones moves up.
        const auto chosen = best.first(static_cast<std::size_t>(top_k_));
        const bool is_chosen = std::ranges::find(chosen, static_cast<std::int32_t>(expert)) != chosen.end();
        Chance chance;
        chance.rival = best[static_cast<std::size_t>(is_chosen ? top_k_ : top_k_ - 1)];
        chance.scale = static_cast<double>(routing_.noise_scale.matrix<float>()(token, expert));
        const double clean = static_cast<double>(routing_.clean.matrix<float>()(token, expert));
        const double threshold = static_cast<double>(routing_.logits.matrix<float>()(token, chance.rival));
        chance.distance = (clean - threshold) / chance.scale;
        return chance;
    }

  private:
    const Routing& routing_;
    index_t top_k_;
    Tensor best_;
};

class LoadLoss : public RouterLoss {
  public:
    explicit LoadLoss(const MoeConfig& config)
        : coefficient_(config.balance.load_loss), experts_(config.experts), top_k_(config.top_k) {}

    std::string name() const override { return "load_loss"; }
    double coefficient() const override { return coefficient_; }
    index_t num_sums() const override { return experts_; }
    bool gradient_needs_sums() const override { return true; }

    void add_sums(const RoutedBatch& routed, std::span<std::int64_t> sums) const override {
        // Without noise (evaluation) nothing is left to chance, and there is no loss.
        if (routed.routing.noise_scale.empty()) return;
        const Chances chances(routed, top_k_);
        // Integers: the order in which tasks add does not show.
        std::mutex adding;
        for_blocks(routed, [&](index_t begin, index_t end) {
            std::vector<std::int64_t> own(sums.size(), 0);
            for (index_t t = begin; t < end; ++t) {
                for (index_t e = 0; e < experts_; ++e)
                    own[static_cast<std::size_t>(e)] += to_sum(chances.of(t, e).value());
            }
            const std::lock_guard lock(adding);
            std::ranges::transform(sums, own, sums.begin(), std::plus<std::int64_t>());
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
        for_blocks(routed, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t) {
                for (index_t e = 0; e < experts_; ++e) {
                    const Chance chance = chances.of(t, e);
                    const double by_distance =
                        scale * slope[static_cast<std::size_t>(e)] * chance.density() / chance.scale;
                    dclean(t, e) += static_cast<float>(by_distance);
                    dlogit(t, chance.rival) -= static_cast<float>(by_distance);
                    dscale(t, e) -= static_cast<float>(by_distance * chance.distance);
                }
            }
        });
    }

  private:
    template <class Body>
    static void for_blocks(const RoutedBatch& routed, const Body& body) {
        routed.context.team.for_ranges(routed.routing.logits.shape()[0], 16, body);
    }

    double coefficient_;
    index_t experts_;
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_load_loss(const MoeConfig& config) {
    return std::make_unique<LoadLoss>(config);
}

}  // namespace sy::model
