#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/writer.hpp"
#include "runtime/telemetry/json_lines.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/train/step.hpp"
#include "runtime/train/train.hpp"

namespace sy::runtime {

/// What rank 0 writes down (run.directory/metrics.jsonl) and tells people while a run goes on. Other ranks call the same
/// functions, and add what they have sent.
class RunLog {
  public:
    /// @param first_step  1, or the step after the checkpoint that was resumed
    /// @param notes  sentences for people and the record, besides those of the model
    RunLog(const Session& session, index_t first_step, const std::vector<std::string>& notes);

    /// @par Collective over the world
    void step(index_t step, const StepOutcome& outcome, const PhaseSeconds& phases, double seconds);
    void validation(index_t step, const Validation& validation, double seconds);
    void validation_abandoned(index_t step);
    void checkpoint(const CheckpointWriter::Published& published);
    void placement(const PlacementRecord& record);
    /// @param last_step  below first_step when there was none
    /// @par Collective over the world
    void end(index_t last_step, bool stopped_early);

  private:
    /// What exchanges have moved and taken, and ranks have computed, since the last call, added over ranks.
    std::vector<index_t> words_of_all_ranks();

    const Session& session_;
    index_t first_step_;
    std::vector<index_t> counted_;  ///< of this rank, up to the last call
    double useful_seconds_ = 0.0;   ///< of this rank, so far
    std::unique_ptr<JsonLines> file_;
    std::unique_ptr<Progress> progress_;
    index_t skipped_ = 0;
};

}  // namespace sy::runtime
