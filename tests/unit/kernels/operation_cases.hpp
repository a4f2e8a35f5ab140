#pragma once

#include <deque>
#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/tensor.hpp"

/// Every operation on small operands in the memory of a device: what a device computes is compared with what another does.
namespace sy::test {

/// Operands of one case, and what its operations have left.
class OperationCase {
  public:
    explicit OperationCase(const Context& context_) : context(context_) {}

    const Context& context;

    /// Normal numbers, other ones each time. @return [rows, cols] f32
    TensorRef normal(index_t rows, index_t cols, float deviation = 1.0F);
    /// The same, positive.
    TensorRef positive(index_t rows, index_t cols);
    /// The same, rounded.
    TensorRef rounded(index_t rows, index_t cols);
    /// Place i is values[i % values.size()]. @return [rows, cols] i32
    TensorRef integers(index_t rows, index_t cols, std::vector<std::int32_t> values);
    TensorRef zeros(index_t rows, index_t cols, DType dtype = DType::f32);
    /// Zeros. @param dtype  f32 or i64, in fixed point
    GradientRef gradient(index_t rows, index_t cols, DType dtype = DType::f32);

    /// What has to be the same on another device.
    void expect(ConstTensorRef values);
    void expect(const GradientRef& gradient);
    /// The numbers that the words of exact sums stand for.
    void expect_sums(ConstTensorRef words);
    const std::vector<std::byte>& results() const { return results_; }

  private:
    TensorRef own(DType dtype, index_t rows, index_t cols);
    std::vector<float> drawn(index_t count, float deviation);
    void append(std::span<const std::byte> bytes);

    std::deque<Tensor> tensors_;
    std::uint64_t stream_ = 0;
    std::vector<std::byte> results_;
};

struct NamedCase {
    const char* name;
    void (*run)(OperationCase& on);
};

/// All cases. Together they call every operation.
std::span<const NamedCase> operation_cases();

}  // namespace sy::test
