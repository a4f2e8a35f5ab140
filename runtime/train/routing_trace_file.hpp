#pragma once

#include <filesystem>
#include <vector>

#include "model/moe/routing_log.hpp"

namespace sy::runtime {

/// The routing of one step of training. The format of its file is described in runtime/telemetry/README.md.
struct RoutingTrace {
    index_t step = 0;
    index_t experts = 0;
    index_t hidden = 0;
    /// Mixtures with the tokens of all ranks: by micro-steps, each with the same layers in the order of their passes.
    std::vector<model::RoutingRecord> mixtures;

    bool operator==(const RoutingTrace&) const = default;
};

/// Writes the file under another name, makes sure of it on the disk, and renames it. Equal traces are equal files.
/// @throws IoError with the path and the reason
void write_routing_trace(const std::filesystem::path& path, const RoutingTrace& trace);

/// Believes nothing that the file says without a check.
/// @throws IoError with the path, and what is wrong
RoutingTrace read_routing_trace(const std::filesystem::path& path);

}  // namespace sy::runtime
