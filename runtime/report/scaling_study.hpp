#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/report/scaling_fit.hpp"
#include "runtime/report/scaling_run.hpp"
#include "runtime/report/scaling_statistics.hpp"

/// A scaling study as jobs/scaling/study leaves it in a folder, and what its repeats say together.
namespace sy::runtime {

enum class ScalingKind { strong, weak };  ///< the global batch stays; or it grows with the ranks
std::string_view scaling_kind_name(ScalingKind kind);

/// What `switchyard-sim` says of a size, measured or not.
struct SimulatedLayer {
    index_t nodes = 0;
    index_t ranks = 0;
    double seconds = 0.0;  ///< of one mixture layer, forward and backward
};

struct ScalingStudy {
    ScalingKind kind = ScalingKind::strong;
    index_t warmup_steps = 0;
    std::vector<ScalingTask> tasks;
    std::vector<ScalingRun> runs;       ///< those that have a line
    std::vector<ScalingTask> missing;   ///< those that have none, or a damaged one
    std::vector<std::string> left_out;  ///< points that cannot run, with the reason
    std::map<std::string, std::vector<SimulatedLayer>> simulated;  ///< by series, in order of ranks
};

/// Reads folder/study, points.tsv, left_out, results/*.json and simulated.tsv.
/// @throws IoError where the folder holds no study, with what is wrong
ScalingStudy read_scaling_study(const std::filesystem::path& folder);

/// All repeats of a point.
struct ScalingPoint {
    std::vector<ScalingRun> runs;

    const ScalingTask& task() const { return runs.front().task; }
    /// The interval of one of kScalingNumbers over repeats. NaN where a run has none.
    Interval number(std::string_view name) const;
};

/// A prediction for so many nodes that nothing was measured with.
struct ScalingPrediction {
    std::string by;  ///< "model" or "simulator"
    index_t nodes = 0;
    index_t ranks = 0;
    double step_seconds = 0.0;
    double tokens_per_s = 0.0;
    double error = 0.0;  ///< relative; the largest for a measured size that was held out
};

/// Points that differ in their number of nodes alone, by ranks.
struct ScalingSeries {
    std::string name;
    std::vector<ScalingPoint> points;
    std::optional<ScalingModel> model;  ///< of the seconds of a step
    std::vector<ScalingPrediction> predictions;

    /// Tokens/s of a rank over those of the first point; the first has no interval, since it is what others are held to.
    Interval efficiency(const ScalingPoint& point) const;
};

/// Numbers of nodes for which is predicted: 2, 4 and 8 times the most that were measured.
inline constexpr std::array<index_t, 3> kPredictedFactors{2, 4, 8};

/// The series of a study in order of their first tasks, with predictions.
std::vector<ScalingSeries> scaling_series(const ScalingStudy& study);

}  // namespace sy::runtime
