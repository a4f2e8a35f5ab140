#pragma once

#include <string>

#include "runtime/data/corpus.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Validation loss over eval_batches global batches, in nats a token, the same on every layout. @par Collective
double validation_loss(Session& session, const Corpus& corpus);

/// Trains from step 1, or from the checkpoint `resume` ("", "latest" or a folder), to train.steps; writes metrics to
/// run.directory/metrics.jsonl and checkpoints; stops cleanly after the current step on SIGTERM and SIGUSR1.
/// @return the last step done
/// @par Collective
index_t train(Session& session, const std::string& resume);

}  // namespace sy::runtime
