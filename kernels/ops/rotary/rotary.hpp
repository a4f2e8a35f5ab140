#pragma once

#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Rotary position embedding, half-split pairs (i, i + D/2) as in LLaMA checkpoints of transformers.
/// @par Source  Su et al., "RoFormer", arXiv:2104.09864
namespace sy::ops {

/// cos and sin of position * theta^(-2i/D), computed in double. [positions, D/2] each.
class RotaryTable {
  public:
    RotaryTable(index_t num_positions, index_t head_dim, double theta);
    MatrixView<const float> cosines() const { return {cos_.data(), num_positions_, half_}; }
    MatrixView<const float> sines() const { return {sin_.data(), num_positions_, half_}; }
    index_t num_positions() const { return num_positions_; }

  private:
    index_t num_positions_;
    index_t half_;
    std::vector<float> cos_;
    std::vector<float> sin_;
};

enum class Direction { forward, backward };

/// Rotates every head of every row in place; backward rotates by the negative angle.
/// @param x         [T, heads * D] (rows may be part of a wider matrix)
/// @param position  [T] position of each row in its sequence
void rotary(MatrixView<float> x, index_t head_dim, std::span<const std::int32_t> position,
            const RotaryTable& table, Direction direction, const Context& context);

namespace ref {
void rotary(MatrixView<float> x, index_t head_dim, std::span<const std::int32_t> position, double theta,
            Direction direction);
}  // namespace ref

}  // namespace sy::ops
