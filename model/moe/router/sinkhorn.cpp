#include "model/moe/router/sinkhorn.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

constexpr double kLargestFactor = 1e60;
constexpr index_t kRowsOfTask = 64;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// e^(x - highest of the row).
void powers_of_rows(MatrixView<const float> logits, Range rows, MatrixView<float> powers) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const from = logits.data + t * logits.stride;
            float* const to = powers.data + t * powers.stride;
            float highest = from[0];
            for (index_t e = 1; e < logits.cols; ++e) highest = std::max(highest, from[e]);
            simd::for_lanes(logits.cols, [&](index_t i, auto load, auto store)
                                             SY_BODY { store(to + i, simd::exp(load(from + i) - highest)); });
        }
    });
}

/// Adds up to kRowsOfTask rows of the plan, scaled to 1 each, to the sums of the columns in units of ExactSum.
void add_rows(MatrixView<const float> powers, Range rows, const double* factor, std::int64_t* sums) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const power = powers.data + t * powers.stride;
            double total = 0.0;
            for (index_t e = 0; e < powers.cols; ++e) total += factor[e] * static_cast<double>(power[e]);
            // A row with a number that is not finite has no place in the plan.
            if (!(total > 0.0)) continue;
            const double scale = 1.0 / (total * ExactSum::kUnit);
            for (index_t e = 0; e < powers.cols; ++e) {
                // Not llrint: this form becomes one vector instruction.
                sums[e] += static_cast<std::int64_t>(factor[e] * static_cast<double>(power[e]) * scale + 0.5);
            }
        }
    });
}

class Sinkhorn : public RoutingStrategy {
  public:
    explicit Sinkhorn(const MoeConfig& config)
        : top_k_(config.top_k),
          rule_{.score = config.top_k == 1 ? Score::sigmoid : Score::softmax,
                .renormalise = false,
                .scale = config.routed_scale} {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor expert(context.arena, DType::i32, {in.logits.rows, top_k_});
        if (!in.pass.training()) {
            ops::gate_top_k(in.logits, expert.matrix<std::int32_t>(), context);
            return expert;
        }
        // The plan's logarithm up to a constant of the row: the same order, and nothing underflows.
        const std::vector<double> factors =
            sinkhorn_log_factors(in.logits, in.pass.batch.global_tokens, in.world, context);
        Tensor plan(context.arena, DType::f32, {in.logits.rows, in.logits.cols});
        const MatrixView<float> plan_te = plan.matrix<float>();
        for (index_t t = 0; t < plan_te.rows; ++t) {
            for (index_t e = 0; e < plan_te.cols; ++e)
                plan_te(t, e) = static_cast<float>(static_cast<double>(in.logits(t, e)) + factors[at(e)]);
        }
        ops::gate_top_k(plan_te, expert.matrix<std::int32_t>(), context);
        return expert;
    }
    WeightRule weights() const override { return rule_; }

  private:
    index_t top_k_;
    WeightRule rule_;
};

}  // namespace

std::vector<double> sinkhorn_log_factors(MatrixView<const float> logits, index_t global_tokens,
                                         comm::Communicator& world, const Context& context) {
    const index_t num_experts = logits.cols;
    Tensor powers(context.arena, DType::f32, {logits.rows, num_experts});
    const MatrixView<float> powers_te = powers.matrix<float>();
    context.team.for_ranges(logits.rows, kRowsOfTask, [&](index_t begin, index_t end) {
        powers_of_rows(logits, {begin, end}, powers_te);
    });
    const index_t num_threads = context.team.size();
    std::vector<ExactSum> sums;
    std::vector<double> factor(at(num_experts), 1.0);
    const double share = static_cast<double>(global_tokens) / static_cast<double>(num_experts);
    for (int round = 0; round < kSinkhornRounds; ++round) {
        sums.assign(at(num_threads * num_experts), {});
        {
            const Timed timed(context, OpKind::routing, 4.0 * static_cast<double>(logits.rows * num_experts));
            context.team.for_tasks(
                (logits.rows + kRowsOfTask - 1) / kRowsOfTask, [&](index_t task, int thread) {
                    const Range rows{task * kRowsOfTask, std::min(logits.rows, (task + 1) * kRowsOfTask)};
                    std::vector<std::int64_t> units(at(num_experts), 0);
                    add_rows(powers_te, rows, factor.data(), units.data());
                    for (index_t e = 0; e < num_experts; ++e)
                        sums[at(thread * num_experts + e)].add_units(units[at(e)]);
                });
        }
        std::vector<ExactSum> columns(sums.begin(), sums.begin() + num_experts);
        for (index_t i = num_experts; i < num_threads * num_experts; ++i)
            columns[at(i % num_experts)] += sums[at(i)];
        comm::all_reduce(world, columns);
        double moved = 0.0;
        for (index_t e = 0; e < num_experts; ++e) {
            const double column = std::max(columns[at(e)].value(), ExactSum::kUnit);
            const double next =
                std::clamp(factor[at(e)] * share / column, 1.0 / kLargestFactor, kLargestFactor);
            moved = std::max(moved, std::fabs(next - factor[at(e)]) / factor[at(e)]);
            factor[at(e)] = next;
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
