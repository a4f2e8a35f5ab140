#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/core/indexed.hpp"
#include "kernels/ops/attention/position_bias.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "model/layers/layer_context.hpp"

namespace sy::model {

/// Position of every row in its sequence: row r is token r mod seq_len.
PerRow<std::int32_t> positions_of_rows(index_t rows, index_t seq_len);

/// How the attention layers of one stack know where tokens stand: rotation of queries and keys, or a bias of their
/// scores. Absolute positions are the embedding's.
class Positions {
  public:
    Positions(LayerContext& shared, StackId stack);

    /// Rotates the rotary columns of every head of x, row r standing at position r mod seq_len; nothing without RoPE.
    /// @param x  [T, heads * head_dim] f32
    void rotate(TensorRef x, ops::RotaryHeads heads, index_t seq_len, ops::Direction direction,
                const Context& context) const;
    /// The same for rows whose positions are given.
    void rotate_at(TensorRef x, ops::RotaryHeads heads, List<std::int32_t> positions,
                   const Context& context) const;

    ops::PositionBias bias() const;
    /// T5's table, whose gradient every layer of the stack adds to; null data for other kinds.
    GradientRef table_gradient() const { return shared_.parameters.gradient(table_); }
    /// The stack's first layer, whose backward is the last, has added its part.
    void table_ready() const { shared_.gradients_ready({table_}); }
    /// Factor of the softmax scale (YaRN in latent attention).
    double score_factor() const { return rotary_ ? rotary_->score_factor() : 1.0; }

  private:
    LayerContext& shared_;
    std::optional<ops::RotaryTable> rotary_;
    std::vector<float> slopes_;
    ParameterId table_;  ///< T5's, or -1
};

}  // namespace sy::model
