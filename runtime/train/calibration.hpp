#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/config/config.hpp"

/// What the parts of a training step take on a machine: measured by `bench --calibrate`, read by `plan --recommend`. The
/// format of its file is described in runtime/bench/README.md.
namespace sy::runtime {

/// Seconds that grow evenly with a size.
struct CostLine {
    double base = 0.0;
    double slope = 0.0;

    double at(double size) const { return base + slope * size; }
    bool operator==(const CostLine&) const = default;
};

/// The line through two points, with neither a base nor a slope below zero: noise must not make a part free of charge.
CostLine line_through(double size, double seconds, double larger_size, double larger_seconds);

/// What a rank computes in a micro-step, forward and backward, while all cores of its node compute. Sizes are tokens of the
/// rank.
struct ComputeCosts {
    index_t threads = 1;                     ///< of the rank
    CostLine mixture;                        ///< a block with experts, without what its exchange takes
    CostLine dense;                          ///< a block without
    CostLine rest;                           ///< embedding, head and losses
    double recompute = 4.0 / 3.0;            ///< a block with model.recompute = block over one without
    double optimizer_s_per_parameter = 0.0;  ///< of those that the rank owns
    bool operator==(const ComputeCosts&) const = default;
};

struct Calibration {
    std::string model;  ///< the settings it holds for, as calibrated_model gives them; empty: for any
    std::string host;
    std::vector<ComputeCosts> compute;  ///< by ascending threads, at least one
    /// The exchange of a mixture in a micro-step, forward and backward. Sizes are bytes that a rank sends to others of its node.
    CostLine flat;
    CostLine hierarchical;
    CostLine
        gradients;  ///< of a step. Sizes are bytes of gradients and weights that a rank sends to others of its node
    std::vector<std::string> assumed;  ///< what was not measured, a sentence each

    /// The costs of a rank with so many threads: those measured with the nearest number, taken to scale with it.
    ComputeCosts compute_with(index_t threads) const;
    bool operator==(const Calibration&) const = default;
};

/// The settings that costs depend on: sections model, moe and numerics without the number and pattern of layers and without
/// recomputation.
std::string calibrated_model(const Config& config);

/// Costs by what processors and memory commonly do; every number is named in `assumed`.
Calibration assumed_calibration(const Config& config);

/// Writes the file under another name first. @throws IoError when it is there already, or with the reason
void write_calibration(const std::filesystem::path& path, const Calibration& calibration);

/// @throws IoError where the file cannot be read or is no calibration; ConfigError where it is of another model
Calibration read_calibration(const std::filesystem::path& path, const Config& config);

}  // namespace sy::runtime
