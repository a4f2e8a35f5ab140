#pragma once

#include <deque>
#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/list.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/rotary/rotary.hpp"

/// Every operation on small operands in the memory of a device: what a device computes is compared with what another does.
namespace sy::test {

/// Operands of one case, and what its operations have left.
class OperationCase {
  public:
    /// A result, without gaps.
    struct Piece {
        DType dtype;
        std::vector<std::byte> bytes;
        bool operator==(const Piece&) const = default;
    };

    explicit OperationCase(const Context& context_) : context(context_) {}

    const Context& context;

    /// Normal numbers, other ones each time. @return [rows, cols] f32
    TensorRef normal(index_t rows, index_t cols, float deviation = 1.0F);
    /// The same, positive.
    TensorRef positive(index_t rows, index_t cols);
    /// The same, rounded.
    TensorRef rounded(index_t rows, index_t cols);
    /// Normal numbers with zeros, infinities, and what is no number among them.
    TensorRef awkward(index_t rows, index_t cols);
    /// Halves of small integers, of which many are equal.
    TensorRef coarse(index_t rows, index_t cols);
    /// Place i is values[i % values.size()]. @return [rows, cols] i32
    TensorRef integers(index_t rows, index_t cols, std::vector<std::int32_t> values);
    /// A list in the memory of the device.
    List<index_t> list(const std::vector<index_t>& values);
    /// A table that lies there too.
    const ops::RotaryTable& uploaded(index_t num_positions, const ops::RotaryRule& rule);
    TensorRef zeros(index_t rows, index_t cols, DType dtype = DType::f32);
    /// Zeros. @param dtype  f32 or i64, in fixed point
    GradientRef gradient(index_t rows, index_t cols, DType dtype = DType::f32);

    /// What has to be the same on another device.
    void expect(ConstTensorRef values);
    void expect(const GradientRef& gradient);
    /// A gradient in fixed point as floats: of addends that may differ in their last bits.
    void expect_rounded(const GradientRef& gradient);
    /// The numbers that the words of exact sums stand for.
    void expect_sums(ConstTensorRef words);
    const std::vector<Piece>& pieces() const { return pieces_; }

  private:
    TensorRef own(DType dtype, index_t rows, index_t cols);
    std::vector<float> drawn(index_t count, float deviation);
    TensorRef upload(const std::vector<float>& values, index_t rows, index_t cols);

    std::deque<Tensor> tensors_;
    std::deque<ops::RotaryTable> tables_;
    std::uint64_t stream_ = 0;
    std::vector<Piece> pieces_;
};

struct NamedCase {
    const char* name;
    void (*run)(OperationCase& on);
};

/// All cases. Together they call every operation.
std::span<const NamedCase> operation_cases();

/// Cases of sides and values at the edge of what operations take.
std::span<const NamedCase> edge_cases();

}  // namespace sy::test
