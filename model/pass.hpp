#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/philox.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/core/types.hpp"

namespace sy::model {

/// The part of a global batch that one pass works on: what every rule is a function of. Tokens are sharded over world
/// ranks as ascending runs of whole sequences.
struct BatchInfo {
    index_t first_token = 0;    ///< global number, in this micro-step, of this rank's first token
    index_t global_tokens = 0;  ///< of this micro-step, over all ranks
    index_t step = 0;
    index_t micro_step = 0;
    index_t accumulation = 1;  ///< equal micro-steps of a step
    /// [T] of this rank's rows: the first row of the sequence, counted within it, that belongs to the same document.
    /// Attention reads nothing before it, so that sequences may be packed of several documents. Only a decoder's; empty: a
    /// sequence is one document. They must live until the backward pass has run.
    std::span<const index_t> document_begins = {};

    /// Global number of this rank's first token in the step, over its micro-steps.
    index_t first_token_of_step() const { return micro_step * global_tokens + first_token; }
    index_t tokens_of_step() const { return accumulation * global_tokens; }
};

enum class Use { train, evaluate, generate };

/// What a layer may depend on besides its input: the same on every rank but for this rank's share of the tokens.
struct PassInfo {
    BatchInfo batch;
    Use use = Use::train;
    std::uint64_t seed = 0;
    index_t seq_len = 1;  ///< rows of a sequence in this pass
    /// [T] token ids of this rank's rows, which must live until the backward pass has run.
    std::span<const std::int32_t> ids = {};
    /// [T] f32 cross entropy of each row, complete before the backward pass begins; null where rows have no loss of their own.
    ConstTensorRef token_loss = {};

    /// Stream of random numbers for one purpose in one layer, counted by global token.
    RandomKey random(index_t layer_idx, RandomPurpose purpose) const {
        return {seed, static_cast<std::uint64_t>(batch.step * batch.accumulation + batch.micro_step),
                static_cast<std::uint32_t>(layer_idx), purpose};
    }
    /// The same for what does not depend on how a step is cut into micro-steps, counted by the token's number in the step.
    RandomKey random_of_step(RandomPurpose purpose) const {
        return {seed, static_cast<std::uint64_t>(batch.step), 0, purpose};
    }
    bool training() const { return use == Use::train; }
};

}  // namespace sy::model
