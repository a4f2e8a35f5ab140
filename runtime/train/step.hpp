#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/data/corpus.hpp"
#include "runtime/telemetry/phase_timer.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// The ids of this rank's sequences of one micro-step, [sequences, seq_len + 1], and what they are part of. Moved, not copied: `info`
/// refers to document_begins.
struct MicroBatch {
    MicroBatch() = default;
    MicroBatch(MicroBatch&&) = default;
    MicroBatch& operator=(MicroBatch&&) = default;
    MicroBatch(const MicroBatch&) = delete;
    MicroBatch& operator=(const MicroBatch&) = delete;
    ~MicroBatch() = default;

    std::vector<std::int32_t> ids;
    std::vector<index_t> document_begins;  ///< for `info`, with data.documents = separate
    model::BatchInfo info;
};

/// Which part of which step.
struct MicroStep {
    index_t step = 0;          ///< 1-based
    index_t micro_step = 0;    ///< 0 .. accumulation - 1
    index_t first_sample = 0;  ///< of the step, over all ranks
};

/// This rank's part of a micro-step: ranks take ascending runs of sequences.
MicroBatch make_batch(const Session& session, const Corpus& corpus, Split split, const MicroStep& which);

/// What one optimizer step has done.
struct StepOutcome {
    model::PassResult pass;  ///< over its micro-steps
    ShardedOptimizer::Result update;
};

/// Forward and backward of every micro-step, gradient exchange, update.
/// @param batches  gives micro-step 0, 1, ... of the step
/// @par Collective
StepOutcome run_step(Session& session, const std::function<MicroBatch(index_t)>& batches, index_t step,
                     PhaseTimer& timer);

}  // namespace sy::runtime
