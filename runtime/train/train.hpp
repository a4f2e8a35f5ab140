#pragma once

#include <functional>
#include <string>

#include "runtime/data/corpus.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Validation loss over eval_batches global batches, in nats a token, the same on every layout. @par Collective
double validation_loss(Session& session, const Corpus& corpus);

/// Trains from step 1, or from the checkpoint `resume` ("", "latest" or a folder), to train.steps; writes metrics to
/// run.directory/metrics.jsonl and checkpoints.
/// @param stop_wanted  asked after every step; when any rank's answer is yes, all write a checkpoint and leave
/// @return the last step done
/// @throws Error after train.max_skipped steps in a row whose gradient was not finite, naming the last checkpoint
/// @par Collective
index_t train(Session& session, const std::string& resume, const std::function<bool()>& stop_wanted);

}  // namespace sy::runtime
