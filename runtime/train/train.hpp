#pragma once

#include <functional>
#include <optional>
#include <string>

#include "runtime/data/corpus.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

struct Validation {
    double loss = 0.0;  ///< nats a target; NaN when there are none
    /// The loss in bits, over the mean number of bytes that a target stands for, so that it can be compared between
    /// tokenizers; for bytes loss / ln 2. Tokens that mark structure have a loss and no bytes. The targets of encoders are a
    /// sample of the tokens, and the mean is over all tokens that were read. Infinite where no token has bytes.
    double bits_per_byte = 0.0;
};

/// Mean cross entropy of the targets of eval_batches global batches, the same on every layout, and for every
/// accumulation where routing knows no capacity: that is of a pass.
/// @throws ConfigError when no text is kept for it
/// @par Collective
Validation validation_loss(Session& session, const Corpus& corpus);

/// The same, unless it is abandoned.
/// @param stop_wanted  asked before every batch; when any rank's answer is yes, all abandon it
/// @return nothing when it was abandoned
/// @par Collective
std::optional<Validation> validation_loss(Session& session, const Corpus& corpus,
                                          const std::function<bool()>& stop_wanted);

/// How far a run came.
struct TrainingEnd {
    index_t last_step = 0;
    bool interrupted = false;  ///< by a rank's wish to stop, before train.steps
};

/// Trains from step 1, or from the checkpoint `resume` ("", "latest" or a folder), to train.steps; writes metrics to
/// run.directory/metrics.jsonl and checkpoints.
/// @param stop_wanted  asked before the first step, after every step and between the batches of a validation, which is
///                     then abandoned; when any rank's answer is yes, all write a checkpoint, unless no step was done,
///                     and leave
/// @throws Error after train.max_skipped steps in a row whose gradient was not finite, naming the last checkpoint
/// @par Collective
TrainingEnd train(Session& session, const std::string& resume, const std::function<bool()>& stop_wanted);

}  // namespace sy::runtime
