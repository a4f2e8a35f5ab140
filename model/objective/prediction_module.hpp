#pragma once

#include "model/block.hpp"
#include "model/layers/projection.hpp"

namespace sy::model {

/// One depth of multi-token prediction: the representation so far and the embedding of the next known token, normed
/// and projected together, through one block. The head and the last norm before it are the model's own.
/// @par Source  DeepSeek-V3, arXiv:2412.19437, section 2.2, equations 21 and 22
class PredictionModule {
  public:
    PredictionModule(const BlockContext& context, const Positions& positions, const BlockSpec& spec);

    /// @param hidden    [T, H] of the depth before
    /// @param embedded  [T, H] of the tokens that this depth reads
    /// @return  what the block reads: the start of its stream
    Value& combine(Tape& tape, Value& hidden, Value& embedded, const PassInfo& pass) const;

    const Block& block() const { return block_; }

  private:
    LayerContext& shared_;
    NormLayer hidden_norm_;
    NormLayer embedding_norm_;
    Projection projection_;
    Block block_;
};

}  // namespace sy::model
