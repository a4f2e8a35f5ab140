#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/reduce/reduce.hpp"
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

TensorRef OperationCase::upload(const std::vector<float>& values, index_t rows, index_t cols) {
    const TensorRef to = own(DType::f32, rows, cols);
    context.device.upload(MatrixView(values.data(), rows, cols), to, context.stream);
    return to;
}

TensorRef OperationCase::normal(index_t rows, index_t cols, float deviation) {
    return upload(drawn(rows * cols, deviation), rows, cols);
}

TensorRef OperationCase::positive(index_t rows, index_t cols) {
    std::vector<float> values = drawn(rows * cols, 1.0F);
    for (float& value : values) value = std::fabs(value) + 0.125F;
    return upload(values, rows, cols);
}

TensorRef OperationCase::awkward(index_t rows, index_t cols) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();
    constexpr std::array kSpecial{0.0F, -0.0F, kInfinity, -kInfinity, kNoNumber, 90.0F, -90.0F, 1e-30F};
    std::vector<float> values = drawn(rows * cols, 1.0F);
    for (std::size_t i = 2; i < values.size(); i += 3) values[i] = kSpecial[i / 3 % kSpecial.size()];
    return upload(values, rows, cols);
}

TensorRef OperationCase::coarse(index_t rows, index_t cols) {
    std::vector<float> values = drawn(rows * cols, 2.0F);
    for (float& value : values) value = std::round(value) / 2.0F;
    return upload(values, rows, cols);
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

List<index_t> OperationCase::list(const std::vector<index_t>& values) {
    const TensorRef to = own(DType::i64, 1, static_cast<index_t>(values.size()));
    context.device.upload(std::span<const index_t>(values), to, context.stream);
    return List<index_t>(to);
}

const ops::RotaryTable& OperationCase::uploaded(index_t num_positions, const ops::RotaryRule& rule) {
    ops::RotaryTable& table = tables_.emplace_back(num_positions, rule);
    table.upload(context);
    return table;
}

TensorRef OperationCase::zeros(index_t rows, index_t cols, DType dtype) {
    const TensorRef to = own(dtype, rows, cols);
    const std::vector<std::byte> none(static_cast<std::size_t>(rows * cols * dtype_bytes(dtype)));
    Tensor staged(context.device, dtype, {rows, cols}, Memory::staging);
    std::ranges::copy(none, staged.raw().begin());
    context.device.upload(HostRef(staged), to, context.stream);
    return to;
}

GradientRef OperationCase::gradient(index_t rows, index_t cols, DType dtype) {
    return {zeros(rows, cols, dtype), dtype == DType::i64 ? zeros(1, 1, DType::u8) : TensorRef()};
}

void OperationCase::expect(ConstTensorRef values) {
    const HostValues read(HostRead::step, {values}, context);
    const auto width = static_cast<std::size_t>(values.cols() * dtype_bytes(values.dtype()));
    Piece piece{values.dtype(), {}};
    for (index_t row = 0; row < values.rows() && width > 0; ++row) {
        const std::byte* const bytes = HostAccess::row(read[0], row);
        piece.bytes.insert(piece.bytes.end(), bytes, bytes + width);
    }
    pieces_.push_back(std::move(piece));
}

void OperationCase::expect(const GradientRef& gradient) {
    expect(gradient.sums);
    if (gradient.is_fixed()) expect(gradient.overflow);
}

void OperationCase::expect_rounded(const GradientRef& gradient) {
    const TensorRef rounded = zeros(gradient.rows(), gradient.cols());
    ops::round_fixed_point(gradient.sums, rounded, context);
    expect(rounded);
    expect(gradient.overflow);
}

void OperationCase::expect_sums(ConstTensorRef words) {
    const HostValues read(HostRead::step, {words}, context);
    const std::vector<std::int64_t> numbers = ExactSum::to_words(ops::exact_sums(read[0]));
    const auto bytes = std::as_bytes(std::span(numbers));
    pieces_.push_back({DType::i64, {bytes.begin(), bytes.end()}});
}

}  // namespace sy::test
