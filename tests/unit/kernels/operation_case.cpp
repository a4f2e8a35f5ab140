#include <cmath>
#include <utility>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "tests/unit/kernels/operation_cases.hpp"

namespace sy::test {

TensorRef OperationCase::own(DType dtype, index_t rows, index_t cols) {
    return tensors_.emplace_back(context.device, dtype, Shape{rows, cols});
}

std::vector<float> OperationCase::drawn(index_t count, float deviation) {
    std::vector<float> values(static_cast<std::size_t>(count));
    ++stream_;
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = deviation * sy::normal({stream_, 0, 0, RandomPurpose::test}, i);
    return values;
}

TensorRef OperationCase::normal(index_t rows, index_t cols, float deviation) {
    const TensorRef to = own(DType::f32, rows, cols);
    const std::vector<float> values = drawn(rows * cols, deviation);
    context.device.upload(MatrixView(values.data(), rows, cols), to, context.stream);
    return to;
}

TensorRef OperationCase::positive(index_t rows, index_t cols) {
    const TensorRef to = own(DType::f32, rows, cols);
    std::vector<float> values = drawn(rows * cols, 1.0F);
    for (float& value : values) value = std::fabs(value) + 0.125F;
    context.device.upload(MatrixView<const float>(values.data(), rows, cols), to, context.stream);
    return to;
}

TensorRef OperationCase::rounded(index_t rows, index_t cols) {
    const TensorRef to = own(DType::bf16, rows, cols);
    std::vector<bf16> values;
    for (const float value : drawn(rows * cols, 1.0F)) values.emplace_back(value);
    context.device.upload(MatrixView<const bf16>(values.data(), rows, cols), to, context.stream);
    return to;
}

TensorRef OperationCase::integers(index_t rows, index_t cols, std::vector<std::int32_t> values) {
    const TensorRef to = own(DType::i32, rows, cols);
    std::vector<std::int32_t> all;
    for (index_t i = 0; i < rows * cols; ++i)
        all.push_back(values[static_cast<std::size_t>(i) % values.size()]);
    context.device.upload(MatrixView<const std::int32_t>(all.data(), rows, cols), to, context.stream);
    return to;
}

TensorRef OperationCase::zeros(index_t rows, index_t cols, DType dtype) {
    const TensorRef to = own(dtype, rows, cols);
    const std::vector<std::byte> none(static_cast<std::size_t>(rows * cols * dtype_bytes(dtype)));
    Tensor staged(context.device, dtype, {rows, cols}, Memory::staging);
    std::ranges::copy(none, staged.raw().begin());
    context.device.upload(staged, to, context.stream);
    return to;
}

GradientRef OperationCase::gradient(index_t rows, index_t cols, DType dtype) {
    return {zeros(rows, cols, dtype), dtype == DType::i64 ? zeros(1, 1, DType::u8) : TensorRef()};
}

void OperationCase::expect(ConstTensorRef values) {
    const HostValues read(HostRead::step, {values}, context);
    const auto width = static_cast<std::size_t>(values.cols() * dtype_bytes(values.dtype()));
    for (index_t row = 0; row < values.rows(); ++row) append({HostAccess::row(read[0], row), width});
}

void OperationCase::expect(const GradientRef& gradient) {
    expect(gradient.sums);
    if (gradient.is_fixed()) expect(gradient.overflow);
}

void OperationCase::expect_sums(ConstTensorRef words) {
    const HostValues read(HostRead::step, {words}, context);
    append(std::as_bytes(std::span<const std::int64_t>(ExactSum::to_words(ops::exact_sums(read[0])))));
}

void OperationCase::append(std::span<const std::byte> bytes) {
    results_.insert(results_.end(), bytes.begin(), bytes.end());
}

}  // namespace sy::test
