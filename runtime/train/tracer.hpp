#pragma once

#include <filesystem>

#include "runtime/telemetry/clock_alignment.hpp"
#include "runtime/telemetry/config.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Writes the time of the steps that telemetry.trace names, on all ranks, to one file, run.directory/trace-FIRST-LAST.json.
/// For other steps every call does nothing.
class Tracer {
  public:
    explicit Tracer(Session& session);

    /// Before a step. @par Collective over the world
    void begin(index_t step);
    /// After the step and what follows it.
    /// @param last  whether no step comes after this one
    /// @throws IoError on every rank when rank 0 cannot write, or the file is there already
    /// @par Collective over the world
    void end(index_t step, bool last);

  private:
    void write(index_t last_step);

    Session& session_;
    TracedSteps steps_;
    index_t first_step_ = 0;  ///< that is traced
    ClockSample begin_;
};

/// "run/trace-10-12.json"
std::filesystem::path trace_path(const std::filesystem::path& run, const TracedSteps& steps);

}  // namespace sy::runtime
