#pragma once

#include <string>
#include <vector>

#include "runtime/plan/plan.hpp"
#include "runtime/train/calibration.hpp"

/// Which layout of a config is fastest on a cluster, by the plan of each layout and what its parts cost on the machine.
namespace sy::runtime {

/// What there is to run on.
struct Cluster {
    index_t nodes = 0;
    index_t cores_per_node = 0;
    double memory_per_node = 0.0;  ///< bytes
    double network_gbps = 0.0;     ///< of a node, each way; needed by more than one node
};

/// What is wrong with it, a sentence each with the option.
std::vector<std::string> cluster_problems(const Cluster& cluster);

/// How a run is laid out.
struct Layout {
    index_t nodes = 1;
    index_t ranks_per_node = 1;
    index_t threads = 1;  ///< of a rank
    index_t expert_parallel = 1;
    index_t accumulation = 1;
    model::Recompute recompute = model::Recompute::none;
    ExchangeSetting exchange = ExchangeSetting::flat;

    index_t ranks() const { return nodes * ranks_per_node; }
    bool operator==(const Layout&) const = default;
};

/// The config as a layout runs it.
Config with_layout(const Config& config, const Layout& layout);

/// Every layout that the config allows on all nodes: each rank has tokens, the experts of a group stand on all its ranks,
/// and threads and ranks fill the cores. The hierarchical exchange only where ranks of a group share a node; the flat one
/// alone where a rank has all experts.
std::vector<Layout> possible_layouts(const Config& config, const Cluster& cluster);

/// Seconds of a step, of the rank with the most tokens. Parts that a run overlaps are added up.
struct StepCost {
    double compute = 0.0;
    double exchange = 0.0;
    double gradients = 0.0;
    double optimizer = 0.0;

    double total() const { return compute + exchange + gradients + optimizer; }
};

/// @param plan  of the layout
StepCost predict_step(const Config& config, const Layout& layout, const Plan& plan, const Cluster& cluster,
                      const Calibration& calibration);

/// A layout with what it takes.
struct Candidate {
    Layout layout;
    StepCost cost;
    double node_memory = 0.0;  ///< bytes
};

struct Recommendation {
    std::vector<Candidate> fitting;  ///< fastest first; of equal ones that which needs least memory
    index_t num_too_large = 0;       ///< layouts that do not fit memory
    double least_memory = 0.0;       ///< of any layout, bytes of a node
    double fastest_too_large = 0.0;  ///< seconds of the fastest that does not fit; 0: there is none
};

/// @throws ConfigError with all that is wrong, or when no layout fits
Recommendation recommend(const Config& config, const Cluster& cluster, const Calibration& calibration);

/// The fastest with runners-up as a table, why, and the settings to paste.
std::string to_text(const Recommendation& recommendation, const Config& config, const Cluster& cluster,
                    const Calibration& calibration);

/// Every layout that fits as a JSON object a line, fastest first.
std::string to_json_lines(const Recommendation& recommendation);

}  // namespace sy::runtime
