#pragma once

#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/list.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/rotary/kind.hpp"

/// Rotary position embedding: pairs of a head's columns are rotated by position * frequency. A head has R such columns.
/// @par Source  Su et al., "RoFormer", arXiv:2104.09864
namespace sy::ops {

struct RotaryScaling {
    RotaryStretch stretch = RotaryStretch::none;
    double factor = 1.0;             ///< >= 1
    index_t original_positions = 0;  ///< context of the training; needed by llama3 and yarn
    double low_frequency = 1.0;
    double high_frequency = 4.0;
    double beta_fast = 32.0;
    double beta_slow = 1.0;
    /// yarn's sharpening of the softmax, m(w) = 0.1 w ln(factor) + 1. The paper's form, (1, 0): cos and sin grow by
    /// m(1), and with them queries and keys. DeepSeek's, equal numbers: cos and sin stay, and the caller multiplies its
    /// softmax scale by m(mscale_all_dims)^2. In general cos and sin grow by m(mscale) / m(mscale_all_dims).
    double mscale = 1.0;
    double mscale_all_dims = 0.0;
};

struct RotaryRule {
    index_t rotary_dim = 0;  ///< R: even, positive
    double theta = 10000.0;
    RotaryPairs pairs = RotaryPairs::half_split;
    RotaryScaling scaling{};
};

/// Angle by position of every pair, [R/2].
/// @throws LogicError when the rule contradicts itself
std::vector<double> rotary_frequencies(const RotaryRule& rule);

/// cos and sin of position * frequency, computed in double.
class RotaryTable {
  public:
    RotaryTable(index_t num_positions, const RotaryRule& rule);
    /// [positions, R/2] f32, in the host's memory
    ConstTensorRef cosines() const;
    ConstTensorRef sines() const;
    /// Keeps a copy in the memory of a device that the host cannot read, for the operations on it.
    void upload(const Context& context);
    /// That copy, [2 * positions, R/2] f32: cosines, then sines. Null without one.
    ConstTensorRef on_device() const { return copy_.empty() ? ConstTensorRef() : copy_.ref(); }
    index_t num_positions() const { return num_positions_; }
    index_t rotary_dim() const { return 2 * half_; }
    RotaryPairs pairs() const { return pairs_; }
    /// What a softmax scale of 1 / sqrt(width) has to be multiplied by: 1 unless yarn's mscale_all_dims is set.
    double score_factor() const { return score_factor_; }

  private:
    index_t num_positions_;
    index_t half_;
    RotaryPairs pairs_;
    double score_factor_ = 1.0;
    std::vector<float> cos_;
    std::vector<float> sin_;
    Tensor copy_;
};

enum class Direction { forward, backward };

/// Where the rotated columns are: R of every head's head_dim, from first_dim on. Others are left alone.
struct RotaryHeads {
    index_t head_dim = 0;
    index_t first_dim = 0;

    RotaryHeads(index_t head_dim_,
                index_t first_dim_ = 0)  // NOLINT(google-explicit-constructor): a width is enough
        : head_dim(head_dim_), first_dim(first_dim_) {}
};

/// Rotates every head of every row in place; backward rotates by the negative angle.
/// @param x         [T, heads * head_dim] f32 (rows may be part of a wider matrix)
/// @param position  [T] position of each row in its sequence
/// @throws ShapeError when heads, rows or positions of the host do not fit the table
void rotary(TensorRef x, RotaryHeads heads, List<std::int32_t> position, const RotaryTable& table,
            Direction direction, const Context& context);

namespace ref {
void rotary(MatrixView<float> x, RotaryHeads heads, std::span<const std::int32_t> position,
            const RotaryRule& rule, Direction direction);
}  // namespace ref

}  // namespace sy::ops
