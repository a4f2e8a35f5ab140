#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>

#include "runtime/json/json.hpp"
#include "runtime/plan/recommend.hpp"
#include "runtime/plan/units.hpp"

namespace sy::runtime {
namespace {

constexpr std::size_t kShown = 8;

const char* exchange_text(const Layout& layout) {
    if (layout.expert_parallel == 1) return "none";
    return layout.exchange == ExchangeSetting::hierarchical ? "hierarchical" : "flat";
}

const char* recompute_name(const Layout& layout) {
    return layout.recompute == model::Recompute::block ? "block" : "none";
}

/// Columns as wide as their widest cell; the last is not padded.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths(rows.front().size(), 0);
    for (const std::vector<std::string>& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    std::ostringstream text;
    for (const std::vector<std::string>& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            text << "  " << std::right << std::setw(static_cast<int>(widths[i])) << row[i];
        text << "\n";
    }
    return text.str();
}

std::string number_text(double value, int digits) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << value;
    return text.str();
}

std::vector<std::string> row_of(const Candidate& candidate, const Config& config) {
    const Layout& layout = candidate.layout;
    const StepCost& cost = candidate.cost;
    const auto share = [&](double seconds) { return number_text(100.0 * seconds / cost.total(), 0); };
    const auto tokens = static_cast<double>(config.train.global_batch * config.model.seq_len);
    return {concat(layout.ranks_per_node),
            concat(layout.threads),
            concat(layout.expert_parallel, " x ", layout.ranks() / layout.expert_parallel),
            concat(config.train.global_batch / layout.accumulation),
            concat(layout.accumulation),
            recompute_name(layout),
            exchange_text(layout),
            number_text(candidate.node_memory / (1U << 30U), 2),
            number_text(cost.total(), 4),
            number_text(tokens / cost.total(), 0),
            share(cost.compute),
            share(cost.exchange),
            share(cost.gradients),
            share(cost.optimizer)};
}

std::string reasons(const Recommendation& recommendation, const Cluster& cluster) {
    const Candidate& best = recommendation.fitting.front();
    struct Part {
        double seconds;
        const char* name;
    };
    const std::array parts{Part{best.cost.compute, "products and what else the ranks compute"},
                           Part{best.cost.exchange, "the exchange of rows"},
                           Part{best.cost.gradients, "gradients and weights on their way"},
                           Part{best.cost.optimizer, "the optimizer"}};
    const Part& most = *std::ranges::max_element(parts, {}, &Part::seconds);
    std::ostringstream text;
    text << "why: most of its step, " << number_text(100.0 * most.seconds / best.cost.total(), 0) << " %, is "
         << most.name << "; it takes " << number_text(100.0 * best.node_memory / cluster.memory_per_node, 0)
         << " % of a node's memory";
    if (recommendation.num_too_large == 0) {
        text << ", and all layouts fit.\n";
    } else if (recommendation.fastest_too_large < best.cost.total()) {
        text << ", and memory binds: of " << recommendation.num_too_large
             << " layouts that do not fit, the fastest would take "
             << number_text(recommendation.fastest_too_large, 4) << " s.\n";
    } else {
        text << "; the " << recommendation.num_too_large << " layouts that do not fit would be no faster.\n";
    }
    return text.str();
}

std::string settings(const Config& config, const Layout& layout) {
    return concat("[parallel]\nranks = ", layout.ranks(), "\nexpert_parallel = ", layout.expert_parallel,
                  "\nthreads = ", layout.threads,
                  layout.expert_parallel > 1 ? concat("\nexchange = ", exchange_text(layout)) : std::string(),
                  "\n[train]\nglobal_batch = ", config.train.global_batch,
                  "\naccumulation = ", layout.accumulation, "\n[model]\nrecompute = ", recompute_name(layout),
                  "\n");
}

Json json_of(const Candidate& candidate) {
    const Layout& layout = candidate.layout;
    const StepCost& cost = candidate.cost;
    return Json::Object{{"ranks", layout.ranks()},
                        {"ranks_per_node", layout.ranks_per_node},
                        {"threads", layout.threads},
                        {"expert_parallel", layout.expert_parallel},
                        {"accumulation", layout.accumulation},
                        {"recompute", recompute_name(layout)},
                        {"exchange", exchange_text(layout)},
                        {"node_memory", candidate.node_memory},
                        {"seconds", cost.total()},
                        {"compute", cost.compute},
                        {"exchange_seconds", cost.exchange},
                        {"gradients", cost.gradients},
                        {"optimizer", cost.optimizer}};
}

}  // namespace

std::string to_json_lines(const Recommendation& recommendation) {
    std::string text;
    for (const Candidate& candidate : recommendation.fitting) text += json_of(candidate).text() + "\n";
    return text;
}

std::string to_text(const Recommendation& recommendation, const Config& config, const Cluster& cluster,
                    const Calibration& calibration) {
    std::ostringstream text;
    text << cluster.nodes << (cluster.nodes == 1 ? " node" : " nodes") << " of " << cluster.cores_per_node
         << " cores and " << with_prefix(cluster.memory_per_node, "B");
    if (cluster.nodes > 1) text << ", " << cluster.network_gbps << " Gbit/s a node";
    text << ": " << recommendation.fitting.size() << " layouts fit, " << recommendation.num_too_large
         << " do not\n";
    std::vector<std::vector<std::string>> rows{
        {"ranks a node", "threads", "EP x DP", "sequences", "accumulation", "recompute", "exchange",
         "GiB a node", "s a step", "tokens/s", "compute %", "exchange %", "gradients %", "optimizer %"}};
    const std::size_t shown = std::min(kShown, recommendation.fitting.size());
    for (std::size_t i = 0; i < shown; ++i) rows.push_back(row_of(recommendation.fitting[i], config));
    text << aligned(rows) << reasons(recommendation, cluster) << "\n"
         << settings(config, recommendation.fitting.front().layout);
    if (calibration.host.empty()) {
        text << "\nNothing was measured (bench --calibrate does it); assumed:\n";
    } else {
        text << "\nCalibrated on " << calibration.host
             << (calibration.assumed.empty() ? ".\n" : "; assumed:\n");
    }
    for (const std::string& sentence : calibration.assumed) text << "- " << sentence << "\n";
    if (cluster.nodes > 1)
        text << "- ranks of a node share its network evenly, at its full rate, and each round of messages "
                "takes 10 us\n";
    return text.str();
}

}  // namespace sy::runtime
