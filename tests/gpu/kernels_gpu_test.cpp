// What tests/unit/kernels/cuda_device_test.cpp asks of the emulation, of a real GPU: the module is loaded as the program
// does it (SWITCHYARD_CUDA_MODULE).
#include <catch2/catch.hpp>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/cuda/module.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "tests/support/read_values.hpp"
#include "tests/unit/kernels/device_comparison.hpp"

namespace sy::test {
namespace {

Device& gpu() {
    static const auto device = make_cuda_device(0);
    return *device;
}

}  // namespace

TEST_CASE("gpu: every operation gives what the processor gives", "[gpu]") {
    check_cases(gpu(), operation_cases());
}

TEST_CASE("gpu: operations of any sides and numbers give what the processor gives", "[gpu]") {
    check_cases(gpu(), edge_cases());
}

TEST_CASE("gpu: the same operations give the same bits again, in both modes", "[gpu]") {
    for (const NumericsMode numerics : {NumericsMode::fast, NumericsMode::reproducible}) {
        for (const NamedCase& named : operation_cases()) {
            INFO(named.name);
            const std::vector<OperationCase::Piece> first = run_on(gpu(), named, numerics);
            CHECK(run_on(gpu(), named, numerics) == first);
        }
    }
}

TEST_CASE("gpu: rows that are apart are uploaded and copied in the order of a stream", "[gpu]") {
    Device& device = gpu();
    const Context context{device, device.compute()};
    std::vector<float> values{1, 2, 3, 4, 5, 6};
    Tensor wide(device, DType::f32, {3, 4});
    ops::fill(0.0F, wide, context);
    device.upload(MatrixView<const float>(values.data(), 3, 2), wide.ref().cols_of({1, 3}), context.stream);
    std::ranges::fill(values, -1.0F);  // the device has its own copy
    Tensor narrow(device, DType::f32, {3, 2});
    device.copy(wide.ref().cols_of({1, 3}), narrow, context.stream);
    CHECK(read_values<float>(narrow, context) == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(read_values<float>(wide, context) == std::vector<float>{0, 1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0});
}

TEST_CASE("gpu: one stream waits for what another had queued", "[gpu]") {
    Device& device = gpu();
    const Context compute{device, device.compute()}, transfer{device, device.transfer()};
    // So large that the second stream would come first, if it did not wait.
    Tensor first(device, DType::f32, {1 << 26}), second(device, DType::f32, {1 << 26});
    for (int round = 1; round <= 3; ++round) {
        ops::fill(static_cast<float>(round), first, compute);
        device.transfer().wait(device.compute().record());
        ops::copy(first, second, transfer);
        device.compute().wait(device.transfer().record());
        CHECK(read_values<float>(second.ref().cols_of({(1 << 26) - 2, 1 << 26}), transfer) ==
              std::vector<float>(2, static_cast<float>(round)));
    }
}

TEST_CASE("gpu: memory that is not there is told with what was asked, held and free", "[gpu]") {
    CHECK_THROWS_WITH(gpu().allocate(index_t{1} << 46),
                      Catch::Contains("no 70368744177664 bytes") && Catch::Contains("are free"));
    CHECK_NOTHROW(Tensor(gpu(), DType::u8, {1 << 20}));
}

}  // namespace sy::test
