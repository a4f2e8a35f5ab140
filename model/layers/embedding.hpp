#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/core/list.hpp"
#include "model/layers/norm_layer.hpp"

namespace sy::model {

/// What a stack makes of token ids: scaled rows of the model's one table, absolute positions, the first token type, norm,
/// dropout.
class Embedding {
  public:
    /// @param stream_idx  of the stack's first layer, for random numbers
    Embedding(LayerContext& shared, StackId stack, index_t stream_idx);

    /// pass.ids, row t standing at position t mod pass.seq_len.
    Value& forward(Tape& tape, const PassInfo& pass) const;
    /// Ids at these positions, forward only.
    /// @throws ShapeError beyond the table of positions, of lists of the host
    Value& forward_at(Tape& tape, const PassInfo& pass, List<std::int32_t> ids,
                      List<std::int32_t> positions) const;
    /// Scaled rows of the table alone: what else reads tokens (multi-token prediction).
    Value& rows(Tape& tape, List<std::int32_t> ids) const;

  private:
    Value& finish(Tape& tape, Value& x, List<std::int32_t> positions, const PassInfo& pass) const;

    LayerContext& shared_;
    index_t stream_idx_;
    ParameterId table_;
    ParameterId learned_ = -1;
    ParameterId types_ = -1;
    Tensor sine_;  ///< [P, H] or empty
    std::unique_ptr<NormLayer> norm_;
};

}  // namespace sy::model
