#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/support/emulated_gpu.hpp"
#include "tests/unit/kernels/operation_cases.hpp"

// The bodies of CUDA on the emulation (tests/cuda_on_cpu) against those of the CPU.
namespace sy::test {
namespace {

std::vector<OperationCase::Piece> run_on(Device& device, const NamedCase& named) {
    const Context context{device, device.compute()};
    OperationCase on(context);
    named.run(on);
    return on.pieces();
}

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

/// Largest difference of finite numbers, of the largest of them; infinite when others are not the same.
double difference(const OperationCase::Piece& piece, const OperationCase::Piece& expected) {
    const std::vector<double> values = numbers_of(piece), wanted = numbers_of(expected);
    double apart = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i]) && std::isnan(wanted[i])) continue;
        if (values[i] == wanted[i]) {
            if (std::isfinite(wanted[i])) largest = std::max(largest, std::fabs(wanted[i]));
            continue;
        }
        if (!std::isfinite(values[i]) || !std::isfinite(wanted[i])) return HUGE_VAL;
        apart = std::max(apart, std::fabs(values[i] - wanted[i]));
        largest = std::max(largest, std::fabs(wanted[i]));
    }
    return apart == 0.0 ? 0.0 : apart / largest;
}

void check_cases(Device& device, std::span<const NamedCase> cases) {
    for (const NamedCase& named : cases) {
        CpuDevice processor(1);
        const std::vector<OperationCase::Piece> expected = run_on(processor, named);
        const std::vector<OperationCase::Piece> pieces = run_on(device, named);
        REQUIRE(pieces.size() == expected.size());
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            INFO(named.name << ", result " << i << " in " << dtype_name(expected[i].dtype));
            REQUIRE(pieces[i].dtype == expected[i].dtype);
            REQUIRE(pieces[i].bytes.size() == expected[i].bytes.size());
            const double tolerance = tolerance_of(expected[i].dtype);
            if (tolerance == 0.0) {
                CHECK(std::ranges::equal(pieces[i].bytes, expected[i].bytes));
            } else {
                CHECK(difference(pieces[i], expected[i]) <= tolerance);
            }
        }
    }
}

template <class T>
std::vector<T> read(ConstTensorRef ref, const Context& context) {
    const HostValues values(HostRead::step, {ref}, context);
    const auto span = host_values<const T>(values[0]);
    return {span.begin(), span.end()};
}

}  // namespace

TEST_CASE("cuda: every operation gives what the processor gives", "[unit]") {
    EmulatedGpu device;
    check_cases(device, operation_cases());
}

TEST_CASE("cuda: operations of any sides and numbers give what the processor gives", "[unit]") {
    EmulatedGpu device;
    check_cases(device, edge_cases());
}

TEST_CASE("cuda device: rows that are apart are copied and uploaded in the order of the stream", "[unit]") {
    EmulatedGpu device;
    const Context context{device, device.compute()};
    std::vector<float> values{1, 2, 3, 4, 5, 6};
    Tensor wide(device, DType::f32, {3, 4});
    ops::fill(0.0F, wide, context);
    device.upload(MatrixView<const float>(values.data(), 3, 2), wide.ref().cols_of({1, 3}), context.stream);
    std::ranges::fill(values, -1.0F);  // the device has its own copy
    Tensor narrow(device, DType::f32, {3, 2});
    device.copy(wide.ref().cols_of({1, 3}), narrow, context.stream);
    CHECK(read<float>(narrow, context) == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(read<float>(wide, context) == std::vector<float>{0, 1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0});
    CHECK_THROWS_AS(device.copy(wide, narrow, context.stream), ShapeError);
}

TEST_CASE("cuda device: one stream waits for what another had queued", "[unit]") {
    EmulatedGpu device;
    const Context compute{device, device.compute()}, transfer{device, device.transfer()};
    Tensor first(device, DType::f32, {1, 4}), second(device, DType::f32, {1, 4});
    for (int round = 1; round <= 3; ++round) {
        ops::fill(static_cast<float>(round), first, compute);
        device.transfer().wait(device.compute().record());
        ops::copy(first, second, transfer);
        device.compute().wait(device.transfer().record());
        CHECK(read<float>(second, transfer) == std::vector<float>(4, static_cast<float>(round)));
    }
}

TEST_CASE("cuda device: uploads on their way hold a limited amount of staging memory", "[unit]") {
    CudaDeviceOptions options = EmulatedGpu::kOptions;
    options.upload_bytes = 64;
    EmulatedGpu device(options);
    const Context context{device, device.compute()};
    Tensor all(device, DType::i32, {100, 8});
    for (std::int32_t row = 0; row < 100; ++row) {
        const std::vector<std::int32_t> values(8, row);
        device.upload(std::span<const std::int32_t>(values), all.ref().rows_of({row, row + 1}),
                      context.stream);
    }
    const std::vector<std::int32_t> read_back = read<std::int32_t>(all, context);
    for (std::size_t i = 0; i < read_back.size(); ++i)
        REQUIRE(read_back[i] == static_cast<std::int32_t>(i / 8));
}

TEST_CASE("cuda device: memory that is not there is told with what was asked, held and free", "[unit]") {
    EmulatedGpu device;
    const Tensor some(device, DType::u8, {1 << 20});
    CHECK_THROWS_WITH(device.allocate(index_t{1} << 46),
                      Catch::Contains("no 70368744177664 bytes") && Catch::Contains("holds 1048576 bytes") &&
                          Catch::Contains("are free") && Catch::Contains("micro-batches"));
    CHECK_NOTHROW(Tensor(device, DType::u8, {1 << 20}));
}

TEST_CASE("cuda device: a GPU or a driver that is not there is named, with what to try", "[unit]") {
    CHECK_THROWS_WITH(EmulatedGpu({.index = 3}),
                      Catch::Contains("GPU 3") && Catch::Contains("1 are visible"));
    emulation::Options& machine = emulation::options();
    const emulation::Options before = machine;
    machine.num_devices = 0;
    CHECK_THROWS_WITH(EmulatedGpu(), Catch::Contains("CUDA_VISIBLE_DEVICES"));
    machine.has_driver = false;
    CHECK_THROWS_WITH(EmulatedGpu(), Catch::Contains("no NVIDIA driver"));
    machine = before;
}

}  // namespace sy::test
