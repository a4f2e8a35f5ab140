#include "runtime/report/scaling_simulation.hpp"

#include <algorithm>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Why the simulator cannot stand in for a series; empty where it can.
std::string reason_against(const ScalingTask& task, const std::string& wire) {
    if (task.exchange != "flat" && task.exchange != "hierarchical")
        return concat("it does not know the exchange ", task.exchange, ", only flat and hierarchical");
    if (task.expert_parallel != 0) return "its experts are always spread over all ranks";
    if (wire != "f32" && wire != "bf16") return concat("it does not know moe.wire = ", wire);
    return {};
}

/// GFLOP/s of a rank while it computes.
double gflops(const ScalingPoint& point) {
    const double share = point.number("compute_seconds").mean / point.number("step_seconds").mean;
    return 1e-9 * point.number("flops_per_s").mean / static_cast<double>(point.task().ranks) / share;
}

std::string simulation(const ScalingTask& task, const Json& config, double speed) {
    const Json& moe = config.at("moe");
    const index_t sequences = task.global_batch / config.at("train").at("accumulation").as_whole();
    const index_t tokens =
        std::max<index_t>(1, sequences * config.at("model").at("seq_len").as_whole() / task.ranks);
    const index_t width = moe.at("expert_width").as_whole();
    return concat(task.exchange, " ", task.expert_parallel, " ", task.nodes, " ", task.ranks, " --exchange ",
                  task.exchange, " --ranks ", task.ranks, " --ranks-per-node ", task.ranks / task.nodes,
                  " --tokens ", tokens, " --hidden ", config.at("model").at("hidden").as_whole(),
                  " --experts ", moe.at("experts").as_whole(), " --top-k ", moe.at("top_k").as_whole(),
                  " --width ", width, " --shared-width ", width * moe.at("shared_experts").as_whole(),
                  " --dtype ", moe.at("wire").as_string(), " --gflops ", speed, " --json");
}

}  // namespace

std::vector<std::string> simulations(const ScalingStudy& study, std::span<const ScalingSeries> series,
                                     std::vector<std::string>& unknown) {
    std::vector<std::string> lines;
    for (const ScalingSeries& one : series) {
        const Json& config = one.points.front().runs.front().config;
        const std::string reason =
            reason_against(one.points.front().task(), config.at("moe").at("wire").as_string());
        if (!reason.empty()) {
            unknown.push_back(concat(one.name, ": ", reason));
            continue;
        }
        const double speed = gflops(one.points.front());
        for (const ScalingPoint& point : one.points) lines.push_back(simulation(point.task(), config, speed));
        for (const index_t factor : kPredictedFactors) {
            ScalingTask task = one.points.back().task();
            task.nodes *= factor;
            task.ranks *= factor;
            if (study.kind == ScalingKind::weak) task.global_batch *= factor;
            lines.push_back(simulation(task, config, speed));
        }
    }
    return lines;
}

}  // namespace sy::runtime
