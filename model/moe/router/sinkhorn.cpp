#include "model/moe/router/sinkhorn.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/sinkhorn/sinkhorn.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

constexpr double kLargestFactor = 1e60;

class Sinkhorn : public RoutingStrategy {
  public:
    explicit Sinkhorn(const MoeConfig& config)
        : RoutingStrategy({.score = config.top_k == 1 ? Score::sigmoid : Score::softmax,
                           .renormalise = false,
                           .scale = config.routed_scale}),
          top_k_(config.top_k) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        if (!in.pass.training()) return highest_scores(in.logits, top_k_, context);
        const std::vector<double> factors =
            sinkhorn_log_factors(in.logits, in.pass.batch.global_tokens, in.world, context);
        Tensor plan(context.device, DType::f32, {in.logits.rows(), in.logits.cols()});
        ops::sinkhorn_log_plan(in.logits, factors, plan, context);
        return highest_scores(plan, top_k_, context);
    }

  private:
    index_t top_k_;
};

}  // namespace

std::vector<double> sinkhorn_log_factors(ConstTensorRef logits, index_t global_tokens,
                                         comm::Communicator& world, const Context& context) {
    Tensor powers(context.device, DType::f32, {logits.rows(), logits.cols()});
    ops::sinkhorn_powers(logits, powers, context);
    Tensor words(context.device, DType::i64, {logits.cols(), index_t{ExactSum::kNumWords}});
    std::vector<double> factor(static_cast<std::size_t>(logits.cols()), 1.0);
    const double share = static_cast<double>(global_tokens) / static_cast<double>(logits.cols());
    for (int round = 0; round < kSinkhornRounds; ++round) {
        ops::sinkhorn_columns(powers, factor, words, context);
        const HostValues read(HostRead::assignment, {words}, context);
        std::vector<ExactSum> columns = ops::exact_sums(read[0]);
        comm::all_reduce(world, std::span<ExactSum>(columns));
        double moved = 0.0;
        for (std::size_t e = 0; e < columns.size(); ++e) {
            const double column = std::max(columns[e].value(), ExactSum::kUnit);
            const double next = std::clamp(factor[e] * share / column, 1.0 / kLargestFactor, kLargestFactor);
            moved = std::max(moved, std::fabs(next - factor[e]) / factor[e]);
            factor[e] = next;
        }
        if (moved < kSinkhornTolerance) break;
    }
    for (double& value : factor) value = std::log(value);
    return factor;
}

std::unique_ptr<RoutingStrategy> make_sinkhorn(const MoeConfig& config) {
    return std::make_unique<Sinkhorn>(config);
}

}  // namespace sy::model
