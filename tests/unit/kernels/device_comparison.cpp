#include "tests/unit/kernels/device_comparison.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "kernels/ops/cpu_device.hpp"

namespace sy::test {
namespace {

/// How far numbers may be apart, of the largest one of their tensor: the exponentials and the order of long sums differ.
double tolerance_of(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return 2e-6;
        case DType::f64:
            return 1e-14;
        case DType::bf16:
            return 0x1p-8;
        default:
            return 0.0;  // integers, codes and marks are the same
    }
}

template <class T>
std::vector<double> numbers_of(const std::vector<std::byte>& bytes) {
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(static_cast<void*>(values.data()), bytes.data(), bytes.size());
    std::vector<double> numbers;
    for (const T value : values) numbers.push_back(static_cast<double>(static_cast<float>(value)));
    return numbers;
}

std::vector<double> numbers_of(const OperationCase::Piece& piece) {
    if (piece.dtype == DType::bf16) return numbers_of<bf16>(piece.bytes);
    if (piece.dtype == DType::f32) return numbers_of<float>(piece.bytes);
    std::vector<double> numbers(piece.bytes.size() / sizeof(double));
    std::memcpy(numbers.data(), piece.bytes.data(), piece.bytes.size());
    return numbers;
}

}  // namespace

double difference(const OperationCase::Piece& piece, const OperationCase::Piece& expected) {
    if (piece.bytes == expected.bytes) return 0.0;
    if (tolerance_of(expected.dtype) == 0.0) return HUGE_VAL;
    const std::vector<double> values = numbers_of(piece), wanted = numbers_of(expected);
    double apart = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isfinite(wanted[i])) largest = std::max(largest, std::fabs(wanted[i]));
        if (values[i] == wanted[i] || (std::isnan(values[i]) && std::isnan(wanted[i]))) continue;
        const double own = std::fabs(values[i] - wanted[i]);
        if (!(own < HUGE_VAL)) return HUGE_VAL;
        apart = std::max(apart, own);
    }
    return apart == 0.0 ? 0.0 : apart / largest;
}

std::vector<OperationCase::Piece> run_on(Device& device, const NamedCase& named, NumericsMode numerics) {
    const Context context{device, device.compute(), numerics};
    OperationCase on(context);
    named.run(on);
    return on.pieces();
}

void check_pieces(const NamedCase& named, std::span<const OperationCase::Piece> pieces) {
    CpuDevice processor(1);
    const std::vector<OperationCase::Piece> expected = run_on(processor, named);
    REQUIRE(pieces.size() == expected.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        INFO(named.name << ", result " << i << " in " << dtype_name(expected[i].dtype));
        REQUIRE(pieces[i].dtype == expected[i].dtype);
        REQUIRE(pieces[i].bytes.size() == expected[i].bytes.size());
        CHECK(difference(pieces[i], expected[i]) <= tolerance_of(expected[i].dtype));
    }
}

void check_cases(Device& device, std::span<const NamedCase> cases) {
    for (const NamedCase& named : cases) check_pieces(named, run_on(device, named));
}

}  // namespace sy::test
