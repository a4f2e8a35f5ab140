#include "runtime/plan/recommend.hpp"

#include <algorithm>
#include <utility>

#include "runtime/plan/units.hpp"
#include "runtime/train/exchange_choice.hpp"

namespace sy::runtime {
namespace {

/// From a rank's message to a rank of another node.
constexpr double kNetworkLatency = 10e-6;
/// Rounds of messages of a mixture, forward and backward, that wait for each other: counts, records, rows both ways.
constexpr double kMessageRounds = 8.0;

std::vector<index_t> divisors(index_t number) {
    std::vector<index_t> result;
    for (index_t divisor = 1; divisor <= number; ++divisor)
        if (number % divisor == 0) result.push_back(divisor);
    return result;
}

double bytes_per_s(const Cluster& cluster) {
    return cluster.network_gbps * 1e9 / 8.0;
}

/// Ranks of an expert-parallel group that share a node.
index_t group_ranks_of_node(const Layout& layout) {
    return std::min(layout.expert_parallel, layout.ranks_per_node);
}

/// What the network adds to messages that `messages` rounds of wait for. All ranks of a node send at once.
double network_seconds(double bytes_of_rank, double messages, const Layout& layout, const Cluster& cluster) {
    if (bytes_of_rank <= 0.0) return 0.0;
    return messages * kNetworkLatency +
           bytes_of_rank * static_cast<double>(layout.ranks_per_node) / bytes_per_s(cluster);
}

double node_memory(const Config& config, const Layout& layout, const Plan& plan) {
    const double shared =
        layout.exchange == ExchangeSetting::hierarchical
            ? shared_bytes_of_node(config, narrow<int>(layout.expert_parallel),
                                   narrow<int>(group_ranks_of_node(layout)), narrow<int>(layout.ranks()))
            : 0.0;
    return static_cast<double>(layout.ranks_per_node) * plan.memory.total() + shared;
}

std::string nothing_fits(const Config& config, const Cluster& cluster, const Recommendation& result) {
    if (result.num_too_large == 0) {
        return concat("plan --recommend: train.global_batch = ", config.train.global_batch,
                      " sequences give none to some of ", cluster.nodes,
                      " nodes, on which at least one rank runs; raise it, or take fewer nodes");
    }
    return concat("plan --recommend: none of ", result.num_too_large, " layouts fits ",
                  with_prefix(cluster.memory_per_node, "B"), " a node; the smallest needs ",
                  with_prefix(result.least_memory, "B"), "; take more nodes, or a smaller model");
}

void add_exchanges(std::vector<Layout>& layouts, Layout layout) {
    layout.exchange = ExchangeSetting::flat;
    layouts.push_back(layout);
    if (group_ranks_of_node(layout) < 2) return;
    layout.exchange = ExchangeSetting::hierarchical;
    layouts.push_back(layout);
}

}  // namespace

std::vector<std::string> cluster_problems(const Cluster& cluster) {
    std::vector<std::string> problems;
    const auto require = [&](bool good, const char* text) {
        if (!good) problems.emplace_back(text);
    };
    require(cluster.nodes >= 1, "plan --recommend: give --nodes, 1 or more");
    require(cluster.cores_per_node >= 1, "plan --recommend: give --cores-per-node, 1 or more");
    require(cluster.memory_per_node > 0.0, "plan --recommend: give --mem-per-node in GiB, more than 0");
    require(cluster.nodes < 2 || cluster.network_gbps > 0.0,
            "plan --recommend: several nodes need --network-gbps, what a node sends in Gbit/s");
    return problems;
}

Config with_layout(const Config& config, const Layout& layout) {
    Config laid = config;
    laid.parallel.ranks = layout.ranks();
    laid.parallel.expert_parallel = layout.expert_parallel;
    laid.parallel.threads = layout.threads;
    laid.parallel.exchange = layout.exchange;
    laid.train.accumulation = layout.accumulation;
    laid.model.recompute = layout.recompute;
    return laid;
}

std::vector<Layout> possible_layouts(const Config& config, const Cluster& cluster) {
    std::vector<Layout> layouts;
    for (const index_t ranks_per_node : divisors(cluster.cores_per_node)) {
        const index_t ranks = cluster.nodes * ranks_per_node;
        for (const index_t accumulation : divisors(config.train.global_batch)) {
            if (config.train.global_batch / accumulation < ranks) continue;
            for (const index_t expert_parallel : divisors(ranks)) {
                if (expert_parallel > config.moe.experts) continue;
                for (const model::Recompute recompute : {model::Recompute::none, model::Recompute::block}) {
                    add_exchanges(layouts,
                                  {cluster.nodes, ranks_per_node, cluster.cores_per_node / ranks_per_node,
                                   expert_parallel, accumulation, recompute});
                }
            }
        }
    }
    return layouts;
}

StepCost predict_step(const Config& config, const Layout& layout, const Plan& plan, const Cluster& cluster,
                      const Calibration& calibration) {
    const ComputeCosts costs = calibration.compute_with(layout.threads);
    const std::vector<bool> blocks = model::moe_blocks(config.moe, config.model);
    const auto mixtures = static_cast<double>(std::count(blocks.begin(), blocks.end(), true));
    const double dense = static_cast<double>(blocks.size()) - mixtures;
    const auto passes = static_cast<double>(layout.accumulation);
    const index_t sequences = config.train.global_batch / layout.accumulation;
    const auto tokens = static_cast<double>(ceil_div(sequences, layout.ranks()) * config.model.seq_len);
    const double again = layout.recompute == model::Recompute::block ? costs.recompute : 1.0;
    StepCost cost;
    cost.compute = passes * (again * (mixtures * costs.mixture.at(tokens) + dense * costs.dense.at(tokens)) +
                             costs.rest.at(tokens));
    if (layout.expert_parallel > 1) {
        // The forward pass, and so half of the rows, is repeated.
        const double rows = layout.recompute == model::Recompute::block ? 1.5 : 1.0;
        const CostLine& line =
            layout.exchange == ExchangeSetting::hierarchical ? calibration.hierarchical : calibration.flat;
        const double exchanges = passes * mixtures;
        cost.exchange =
            rows * (exchanges * line.base + line.slope * plan.rows.in_node +
                    network_seconds(plan.rows.between_nodes, exchanges * kMessageRounds, layout, cluster));
    }
    if (layout.ranks() > 1) {
        cost.gradients = calibration.gradients.at(plan.gradients.in_node) +
                         network_seconds(plan.gradients.between_nodes, 2.0, layout, cluster);
    }
    cost.optimizer = costs.optimizer_s_per_parameter * static_cast<double>(plan.size.total_parameters) /
                     static_cast<double>(layout.ranks());
    return cost;
}

Recommendation recommend(const Config& config, const Cluster& cluster, const Calibration& calibration) {
    const std::vector<std::string> problems = cluster_problems(cluster);
    if (!problems.empty()) throw ConfigError(problems);
    Recommendation result;
    for (const Layout& layout : possible_layouts(config, cluster)) {
        const Config laid = with_layout(config, layout);
        const Plan plan = make_plan(laid, {narrow<int>(layout.ranks()), narrow<int>(layout.ranks_per_node)});
        const Candidate candidate{layout, predict_step(laid, layout, plan, cluster, calibration),
                                  node_memory(laid, layout, plan)};
        const bool first = result.fitting.empty() && result.num_too_large == 0;
        result.least_memory =
            first ? candidate.node_memory : std::min(result.least_memory, candidate.node_memory);
        if (candidate.node_memory <= cluster.memory_per_node) {
            result.fitting.push_back(candidate);
            continue;
        }
        const double seconds = candidate.cost.total();
        if (result.num_too_large++ == 0 || seconds < result.fastest_too_large)
            result.fastest_too_large = seconds;
    }
    if (result.fitting.empty()) throw ConfigError(nothing_fits(config, cluster, result));
    std::ranges::stable_sort(result.fitting, [](const Candidate& a, const Candidate& b) {
        return std::pair(a.cost.total(), a.node_memory) < std::pair(b.cost.total(), b.node_memory);
    });
    return result;
}

}  // namespace sy::runtime
