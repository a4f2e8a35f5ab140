#pragma once

#include <string>
#include <vector>

#include "comm/topology/topology.hpp"
#include "runtime/config/config.hpp"

/// What a run will need, from its config alone: pure values, computed on any machine.
namespace sy::runtime {

/// What to plan for.
struct PlanRequest {
    int num_ranks = 1;
    int ranks_per_node = 8;  ///< consecutive ranks share a node
};

/// Bytes that the rank with the most sequences and experts holds.
struct PlannedMemory {
    double weights = 0.0;    ///< float32, and a bf16 copy in a bf16 model
    double gradients = 0.0;  ///< float32, or 64-bit fixed point
    double optimizer = 0.0;  ///< two moments of what the rank owns
    double snapshot = 0.0;   ///< for checkpoints written behind the training
    /// An estimate: what the layers of a micro-step keep for backward, with even routing.
    double activations = 0.0;
    double total() const { return weights + gradients + optimizer + snapshot + activations; }
};

/// Bytes that a rank sends in a step, by how far.
struct PlannedTraffic {
    double in_node = 0.0;
    double between_nodes = 0.0;
};

/// What a job has; 0: not known, and not checked.
struct JobLimits {
    double node_memory = 0.0;    ///< bytes of a node
    double grace_seconds = 0.0;  ///< from the signal that announces the end of a job to the end
};

struct Plan {
    comm::ProcessGrid grid;
    PlanRequest request;
    model::ModelSize size;
    double step_tokens = 0.0;
    PlannedMemory memory;
    double checkpoint_bytes = 0.0;  ///< of all ranks: float32 weights and two moments
    /// What a run needs to leave with a checkpoint: a step, which it finishes first, and the writing. A cautious guess that
    /// knows nothing of the machine: 20 GFLOP/s a rank, and 500 MB/s to the disk from each node, or from one for one file.
    double seconds_to_leave = 0.0;
    /// Rows to the experts and back, forward and backward, each once a destination rank, with even routing.
    PlannedTraffic rows;
    /// Gradients to their owners and weights back.
    PlannedTraffic gradients;
    double cache_bytes_per_token = 0.0;           ///< keys and values of generation
    double windowed_cache_bytes_per_token = 0.0;  ///< of that, of layers that need only their window
};

/// @throws ConfigError when the ranks cannot be arranged as the config says
Plan make_plan(const Config& config, const PlanRequest& request);

/// @throws ConfigError with all that does not fit
void check_limits(const Plan& plan, const JobLimits& limits);

/// What the numbers of a plan leave out, a sentence each: ranks without tokens or experts, and ranks that the config
/// does not let run.
std::vector<std::string> plan_notes(const Config& config, const Plan& plan);

/// The plan as a table for people.
std::string to_text(const Plan& plan);

}  // namespace sy::runtime
