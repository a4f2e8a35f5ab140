#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/types.hpp"
#include "runtime/json/json.hpp"

/// One run of a scaling study: what was asked for, and what its metrics say.
namespace sy::runtime {

/// A line of a study's points.tsv.
struct ScalingTask {
    index_t number = 0;
    std::string point;  ///< its name, the same for all repeats
    index_t repeat = 0;
    index_t nodes = 0;
    index_t ranks = 0;
    index_t expert_parallel = 0;  ///< 0: all ranks
    std::string exchange;
    index_t global_batch = 0;

    /// The name of its files.
    std::string name() const;
    /// What stays the same while the number of nodes grows.
    std::string series() const;
};

/// A number that each run has.
struct ScalingNumber {
    std::string_view name;
    std::string_view unit;
    std::string_view meaning;
};

/// The numbers of a run, in the order of files. Seconds, rows and bytes are those of a step, means over measured steps
/// unless said otherwise. The eight kinds of seconds from compute to other add up to a step.
inline constexpr std::array kScalingNumbers{
    ScalingNumber{"step_seconds", "s", "median"},
    ScalingNumber{"step_seconds_low", "s", "lower quartile"},
    ScalingNumber{"step_seconds_high", "s", "upper quartile"},
    ScalingNumber{"tokens_per_s", "1/s", "tokens of a step over its median seconds"},
    ScalingNumber{"flops_per_s", "1/s", "of the model's matrix products, all ranks"},
    ScalingNumber{"compute_seconds", "s", "rank 0"},
    ScalingNumber{"plan_seconds", "s", "exposed communication of exchange plans, mean of ranks"},
    ScalingNumber{"dispatch_seconds", "s", "exposed communication of rows to experts, mean of ranks"},
    ScalingNumber{"return_seconds", "s", "exposed communication of results, mean of ranks"},
    ScalingNumber{"gradient_seconds", "s", "exposed communication that is none of the exchange, rank 0"},
    ScalingNumber{"optimizer_seconds", "s", "rank 0"},
    ScalingNumber{"data_seconds", "s", "reading of texts, rank 0"},
    ScalingNumber{"other_seconds", "s", "what no phase counts"},
    ScalingNumber{"dispatch_total_seconds", "s", "dispatch with what computing hid, mean of ranks"},
    ScalingNumber{"return_total_seconds", "s", "return with what computing hid, mean of ranks"},
    ScalingNumber{"useful_mean_seconds", "s", "outside communication, mean of ranks"},
    ScalingNumber{"useful_max_seconds", "s", "outside communication, slowest rank of each step"},
    ScalingNumber{"exposed_communication", "1", "share of a step that ranks wait, 1 - parallel efficiency"},
    ScalingNumber{"parallel_efficiency", "1", "POP: mean useful seconds over seconds"},
    ScalingNumber{"load_balance", "1", "POP: mean over maximum of the useful seconds"},
    ScalingNumber{"node_load_balance", "1",
                  "POP: mean over maximum of the nodes' useful seconds, of the whole run"},
    ScalingNumber{"communication_efficiency", "1", "POP: maximum of the useful seconds over seconds"},
    ScalingNumber{"rank_rows", "1", "rows that stay on their rank"},
    ScalingNumber{"node_rows", "1", "rows to other ranks of the node"},
    ScalingNumber{"network_rows", "1", "rows to other nodes"},
    ScalingNumber{"rank_bytes", "B", "of rows that stay on their rank"},
    ScalingNumber{"node_bytes", "B", "of rows to other ranks of the node"},
    ScalingNumber{"network_bytes", "B", "of rows to other nodes"},
    ScalingNumber{"network_bound_bytes", "B", "fewest that could cross the network"},
    ScalingNumber{"metadata_bytes", "B", "counts and records of the exchange"},
    ScalingNumber{"gradient_bytes", "B", "gradients and weights that rank 0 sends"},
    ScalingNumber{"imbalance", "1", "highest load of an expert over the mean, worst layer"},
    ScalingNumber{"dropped", "1", "share of choices"},
    ScalingNumber{"memory_max_bytes", "B", "of the rank with the highest use of its arena"},
    ScalingNumber{"memory_mean_bytes", "B", "mean over ranks"},
    ScalingNumber{"loss", "nat", "of the last step"},
};

/// Choices of the experts in some consecutive steps.
struct LoadSlice {
    index_t first_step = 0;
    index_t last_step = 0;
    std::vector<std::vector<index_t>> load;  ///< [mixtures][experts]
};

struct ScalingRun {
    ScalingTask task;
    std::string version;
    std::string isa;
    std::string layout;
    std::string finished_at;         ///< UTC, ISO 8601
    index_t threads = 1;             ///< of a rank
    Json config;                     ///< every setting
    std::vector<std::string> hosts;  ///< each once, in order of ranks
    index_t warmup_steps = 0;
    index_t measured_steps = 0;
    std::vector<double> numbers;  ///< as kScalingNumbers
    std::vector<index_t> layers;  ///< the mixtures
    std::vector<LoadSlice> loads;
    std::vector<index_t> memory_bytes;  ///< of each rank

    /// @param name  one of kScalingNumbers
    double number(std::string_view name) const;
};

/// What run/metrics.jsonl says. The first `warmup_steps` steps are left out: they touch memory for the first time.
/// @throws IoError where there is no such file, or the run did not reach its end or has no further step
ScalingRun measure_run(const std::filesystem::path& run, const ScalingTask& task, index_t warmup_steps);

/// One line of JSON, whose last member is a checksum of all before.
std::string to_line(const ScalingRun& run);
/// @throws IoError for a line that is damaged or no such line
ScalingRun scaling_run_from_line(const std::string& line);

}  // namespace sy::runtime
