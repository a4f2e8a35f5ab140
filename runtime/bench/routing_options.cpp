// What chance costs a router, and capacity after it, forward and backward on one rank.
#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/core/decimal.hpp"
#include "model/moe/capacity.hpp"
#include "runtime/bench/routing_bench.hpp"

namespace sy::runtime::bench {
namespace {

struct ChoiceAxis;

struct Case {
    std::string name;
    std::function<void(model::MoeConfig&)> change;
};

const Case kChances[] = {
    {"jitter", [](model::MoeConfig& moe) { moe.jitter = 0.01; }},
    {"gaussian noise", [](model::MoeConfig& moe) { moe.noise = model::LogitNoise::gaussian; }},
    {"gumbel noise", [](model::MoeConfig& moe) { moe.noise = model::LogitNoise::gumbel; }},
    {"learned noise", [](model::MoeConfig& moe) { moe.noise = model::LogitNoise::learned; }},
    {"learned noise, load_loss",
     [](model::MoeConfig& moe) {
         moe.noise = model::LogitNoise::learned;
         moe.balance.load_loss = 0.1;
     }},
    {"random second of 2",
     [](model::MoeConfig& moe) {
         moe.top_k = 2;
         moe.random_second = true;
     }},
    {"router in bf16", [](model::MoeConfig& moe) { moe.router_dtype = DType::bf16; }},
};

const Case kLimits[] = {
    {"capacity by position", [](model::MoeConfig& moe) { moe.drop_by = model::DropBy::position; }},
    {"capacity by score", [](model::MoeConfig& moe) { moe.drop_by = model::DropBy::score; }},
    {"capacity by batch priority",
     [](model::MoeConfig& moe) { moe.drop_by = model::DropBy::batch_priority; }},
    {"capacity of a rank", [](model::MoeConfig& moe) { moe.capacity_scope = model::CapacityScope::local; }},
    {"budgets of devices",
     [](model::MoeConfig& moe) {
         moe.capacity_factor = 0.0;
         moe.groups = 8;
         moe.device_capacity = 1.0;
         moe.protected_fraction = 0.0;
     }},
};

/// Whether choices are the best by the logits as they were drawn, and weights their softmax: of every token, in double.
/// @param rounding  by which the best may be missed
double choice_error(const model::Routing& routing, float rounding) {
    const MatrixView<const float> logits = routing.logits.matrix<float>();
    const MatrixView<const std::int32_t> expert = routing.expert.matrix<std::int32_t>();
    const MatrixView<const float> weight = routing.weight.matrix<float>();
    double error = 0.0;
    for (index_t t = 0; t < expert.rows; ++t) {
        const std::span<const float> row = logits.row_span(t);
        PerExpert<float> ranked(std::vector<float>(row.begin(), row.end()));
        std::ranges::sort(ranked, std::greater());
        double sum = 0.0;
        for (index_t j = 0; j < expert.cols; ++j) {
            // Scores are rounded functions of logits: neighbours may have changed places.
            const float own = logits(t, expert(t, j));
            if (std::fabs(own - ranked[j]) > rounding) return HUGE_VAL;
            sum += std::exp(static_cast<double>(own));
        }
        for (index_t j = 0; j < expert.cols; ++j) {
            const double expected = std::exp(static_cast<double>(logits(t, expert(t, j)))) / sum;
            error = std::max(error, std::fabs(static_cast<double>(weight(t, j)) - expected));
        }
    }
    return error;
}

/// Whether each expert, or group of them, keeps exactly what its places hold.
double limit_error(const model::Routing& routing, const model::CapacityResult& result,
                   const model::MoeConfig& moe) {
    const MatrixView<const std::int32_t> expert = routing.expert.matrix<std::int32_t>();
    const index_t queues = moe.device_capacity > 0.0 ? moe.groups : moe.experts;
    const double factor = moe.device_capacity > 0.0 ? moe.device_capacity : moe.capacity_factor;
    const index_t places = decimal_ceil(factor, expert.rows * expert.cols, queues);
    PerExpert<index_t> wanting(queues, 0);
    PerExpert<index_t> kept(queues, 0);
    const IndexedSpan<ChoiceAxis, const std::uint8_t> is_kept = result.kept;
    for (index_t i = 0; i < expert.rows * expert.cols; ++i) {
        const index_t queue = expert.data[i] / (moe.experts / queues);
        ++wanting[queue];
        kept[queue] += is_kept[i];
    }
    for (index_t q = 0; q < queues; ++q)
        if (kept[q] != std::min(wanting[q], places)) return HUGE_VAL;
    return result.num_dropped > 0 ? 0.0 : HUGE_VAL;
}

}  // namespace

void routing_options(const BenchOptions& options, Machine& machine, comm::Communicator& world,
                     double layer_ms, Report& report) {
    for (const Case& chance : kChances) {
        model::MoeConfig moe = fine_config();
        chance.change(moe);
        Routed routed(machine, world, moe);
        const Times times = time_repeatedly(options, [&] { routed.run(); });
        BenchRow row = routing_row(options, chance.name, "forward_backward", times, layer_ms);
        const bool rounded = moe.router_dtype == DType::bf16;
        row.error = choice_error(routed.routing, rounded ? 0x1p-7F : 1e-5F);
        if (rounded) row.tolerance = 0x1p-7;
        report.row(row);
    }
    for (const Case& limit : kLimits) {
        model::MoeConfig moe = fine_config();
        moe.capacity_factor = 1.0;
        limit.change(moe);
        Routed routed(machine, world, moe);
        routed.run();
        const model::CapacityInput input{routed.routing.expert, routed.routing.weight, routed.bench.pass};
        model::CapacityResult result;
        const Times times =
            time_repeatedly(options, [&] { result = model::apply_capacity(input, moe, world); });
        BenchRow row = routing_row(options, limit.name, "forward", times, layer_ms);
        row.error = limit_error(routed.routing, result, moe);
        report.row(row);
    }
}

}  // namespace sy::runtime::bench
