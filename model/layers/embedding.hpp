#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernels/core/indexed.hpp"
#include "model/layers/norm_layer.hpp"

namespace sy::model {

/// What a stack makes of token ids: scaled rows of the model's one table, absolute positions, norm, dropout.
class Embedding {
  public:
    struct Spec {
        std::string prefix;      ///< of the stack's names: "" or "encoder."
        index_t num_positions;   ///< of the table of absolute positions
        index_t stream_idx = 0;  ///< of the stack's first layer, for random numbers
    };
    /// Registers PREFIXposition_embedding.weight and PREFIXembedding_norm where the config wants them.
    /// @param table  the embedding [V, H], shared by all stacks
    Embedding(LayerContext& shared, const Spec& spec, ParameterId table);

    /// pass.ids, row t standing at position t mod pass.seq_len.
    Value& forward(Tape& tape, const PassInfo& pass) const;
    /// pass.ids, all at one position, forward only.
    /// @throws ShapeError beyond the table of positions
    Value& forward_at(Tape& tape, const PassInfo& pass, index_t position) const;
    /// Scaled rows of the table alone: what else reads tokens (multi-token prediction).
    Value& rows(Tape& tape, std::span<const std::int32_t> ids) const;

  private:
    Value& finish(Tape& tape, Value& x, PerRow<std::int32_t> positions, const PassInfo& pass) const;

    LayerContext& shared_;
    Spec spec_;
    ParameterId table_;
    ParameterId learned_ = -1;
    Tensor sine_;  ///< [P, H] or empty
    std::unique_ptr<NormLayer> norm_;
};

}  // namespace sy::model
