#pragma once

#include "runtime/train/routing_trace_file.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Writes the routing of the steps that telemetry.routing_trace chooses to run.directory/routing/step-NNNNNNNN.h5, a file a
/// step. For other steps every call does nothing.
class RoutingTracer {
  public:
    explicit RoutingTracer(Session& session) : session_(session) {}

    void begin(index_t step);
    /// After the step: what mixtures have written down since begin(). The file is the same on every layout of
    /// `reproducible` mode.
    /// @throws IoError on every rank when rank 0 cannot write @par Collective over the world
    void write(index_t step);

  private:
    Session& session_;
};

/// Mixtures with the tokens of all ranks, in rank order, on rank 0; nothing on others.
/// @param mine  as many on every rank, of the same micro-steps and layers in the same order @par Collective
std::vector<model::RoutingRecord> gather_routing(comm::Communicator& world,
                                                 std::span<const model::RoutingRecord> mine);

/// "run/routing/step-00000010.h5"
std::filesystem::path routing_trace_path(const std::filesystem::path& run, index_t step);

}  // namespace sy::runtime
