#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/pointwise/pointwise.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/support/emulated_gpu.hpp"
#include "tests/support/read_values.hpp"
#include "tests/unit/kernels/device_comparison.hpp"
#include "tests/unit/kernels/operation_cases.hpp"

// The bodies of CUDA on the emulation (tests/cuda_on_cpu) against those of the CPU.
namespace sy::test {
namespace {

/// Those that multiply matrices.
std::vector<NamedCase> product_cases() {
    std::vector<NamedCase> chosen;
    for (const std::span<const NamedCase> cases : {operation_cases(), edge_cases()}) {
        for (const NamedCase& named : cases) {
            const std::string_view name = named.name;
            if (name.starts_with("products") || name.starts_with("feed-forward")) chosen.push_back(named);
        }
    }
    REQUIRE(chosen.size() == 4);
    return chosen;
}

/// With cuBLAS, where its headers are; without, tests of it are skipped by name (cublas_emulation_test).
CudaDeviceOptions with_library(std::optional<cuda::GroupMethod> method) {
    CudaDeviceOptions options = EmulatedGpu::kOptions;
    options.find_product_library = cuda::find_cublas;
    options.group_method = method;
    return options;
}

}  // namespace

TEST_CASE("cuda graphs: a step is captured at its second use, and then finds the memory as it is", "[unit]") {
    EmulatedGpu device;
    const Context context{device, device.compute()};
    const std::unique_ptr<Graphs> graphs = make_graphs(context);
    REQUIRE(graphs != nullptr);
    float added = 1.0F;
    Tensor x = upload(std::span<const float>(std::array<float, 4>{1, 2, 3, 4}), context);
    Tensor y(device, DType::f32, {4});
    const auto step = [&] {
        const Tensor addends = upload(std::span<const float>(std::vector<float>(4, added)), context);
        Tensor sum(device, DType::f32, {4});
        ops::copy(x, sum, context);
        ops::add(addends, sum, context);
        ops::copy(sum, y, context);
    };
    const auto values = [&] { return read_values<float>(y, context); };
    graphs->run(1, step);
    CHECK(values() == std::vector<float>{2, 3, 4, 5});
    SECTION("as often as it is used") {
        const sy::emulation::Counters before = sy::emulation::counters();
        for (int use = 0; use < 3; ++use) {
            const std::array<float, 4> other{static_cast<float>(use), 0, 0, 0};
            device.upload(std::span<const float>(other), x, context.stream);
            graphs->run(1, step);
            CHECK(values() == std::vector<float>{static_cast<float>(use) + 1, 1, 1, 1});
        }
        CHECK(graphs->num_captured() == 1);
        CHECK(graphs->num_replays() == 2);
        CHECK(sy::emulation::counters().num_graph_launches == before.num_graph_launches + 3);
        CHECK(sy::emulation::counters().num_launches == before.num_launches);
    }
    SECTION("unless it uploads other values, which would stay as they are") {
        added = 2.0F;
        CHECK_THROWS_WITH(graphs->run(1, step),
                          Catch::Contains("upload 1 of a captured step, 16 bytes, differs"));
        CHECK(graphs->num_captured() == 0);
        added = 1.0F;
        graphs->run(1, step);
        graphs->run(1, step);
        CHECK(graphs->num_replays() == 1);
        CHECK(values() == std::vector<float>{2, 3, 4, 5});
    }
    SECTION("unless it reads what it has queued") {
        const auto reading = [&] {
            step();
            static_cast<void>(values());
        };
        graphs->run(2, reading);
        CHECK_THROWS_WITH(graphs->run(2, reading), Catch::Contains("cudaErrorStreamCaptureUnsupported"));
        // The stream goes on.
        graphs->run(1, step);
        CHECK(values() == std::vector<float>{2, 3, 4, 5});
    }
    SECTION("beside steps of other keys, in the same memory") {
        const auto twice = [&] {
            step();
            ops::add(y, y, context);
        };
        for (int use = 0; use < 3; ++use) {
            graphs->run(2, twice);
            CHECK(values() == std::vector<float>{4, 6, 8, 10});
            graphs->run(1, step);
            CHECK(values() == std::vector<float>{2, 3, 4, 5});
        }
        CHECK(graphs->num_captured() == 2);
    }
}

TEST_CASE("cuda: every operation gives what the processor gives", "[unit]") {
    EmulatedGpu device;
    check_cases(device, operation_cases());
}

TEST_CASE("cuda: operations of any sides and numbers give what the processor gives", "[unit]") {
    EmulatedGpu device;
    check_cases(device, edge_cases());
}

TEST_CASE("cuda: products by a library and in groups of every method give what the processor gives",
          "[unit]") {
    for (const cuda::GroupMethod method : cuda::kGroupMethods) {
        INFO(cuda::group_method_name(method));
        EmulatedGpu device(with_library(method));
        check_cases(device, product_cases());
    }
}

TEST_CASE("cuda: reproducible products have the bits of the device's own kernels, by whatever method",
          "[unit]") {
    for (const NamedCase& named : product_cases()) {
        INFO(named.name);
        EmulatedGpu own;
        const std::vector<OperationCase::Piece> expected = run_on(own, named, NumericsMode::reproducible);
        for (const cuda::GroupMethod method : cuda::kGroupMethods) {
            EmulatedGpu device(with_library(method));
            CHECK(run_on(device, named, NumericsMode::reproducible) == expected);
        }
    }
}

TEST_CASE(
    "cuda: how groups of products are computed is measured at first uses, and then nothing is allocated",
    "[unit]") {
    EmulatedGpu device(with_library(std::nullopt));
    const Context context{device, device.compute()};
    OperationCase on(context);
    constexpr index_t kExperts = 4, kHidden = 16, kInner = 32, kSlots = 12;
    const std::vector<index_t> offsets{0, 3, 6, 9, kSlots};
    const ops::ExpertWeights weights{.gate = {},
                                     .up = on.normal(kExperts * kHidden, kInner),
                                     .down = on.normal(kExperts * kInner, kHidden),
                                     .activation = ops::Activation::relu};
    const TensorRef x = on.normal(kSlots, kHidden), out = on.zeros(kSlots, kHidden);
    const auto run = [&] {
        ops::expert_ffn(x, weights, {offsets, {}, {}, {}}, {}, out, context);
        device.compute().synchronise(std::chrono::minutes(1));
    };
    run();
    const std::vector<float> expected = read_values<float>(out, context);
    for (int use = 0; use < 12; ++use) run();
    CHECK_THAT(device.products_note(), Catch::Contains("in all 8 x 128 x 64: ") &&
                                           Catch::Contains("one_stream") &&
                                           Catch::Contains("several_streams"));
    const emulation::Counters before = emulation::counters();
    run();
    CHECK(emulation::counters().num_allocations == before.num_allocations);
    CHECK(emulation::counters().num_host_waits == before.num_host_waits);
    CHECK(read_values<float>(out, context) == expected);
}

TEST_CASE("cuda: a product that the library refuses is named with its sides", "[unit]") {
    EmulatedGpu device(with_library(cuda::GroupMethod::one_stream));
    if (device.product_library() == nullptr) return;
    const Context context{device, device.compute()};
    OperationCase on(context);
    const TensorRef a = on.normal(4, 8), b = on.normal(3, 8), c = on.zeros(4, 3);
    device.compute().synchronise(std::chrono::minutes(1));
    emulation::break_device(cudaErrorECCUncorrectable);
    CHECK_THROWS_WITH(ops::multiply({.a = a, .b = b, .transpose_b = ops::Transpose::yes, .c = c}, context),
                      Catch::Contains("cuBLAS, [4, 8] times [3, 8]^T in f32 into [4, 3]"));
    emulation::recover();
    CHECK_THROWS_WITH(cuda::parse_group_method("quick"),
                      Catch::Contains("called quick") && Catch::Contains("several_streams"));
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
    CHECK(read_values<float>(narrow, context) == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(read_values<float>(wide, context) == std::vector<float>{0, 1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0});
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
        CHECK(read_values<float>(second, transfer) == std::vector<float>(4, static_cast<float>(round)));
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
    const std::vector<std::int32_t> read_back = read_values<std::int32_t>(all, context);
    for (std::size_t i = 0; i < read_back.size(); ++i)
        REQUIRE(read_back[i] == static_cast<std::int32_t>(i / 8));
}

TEST_CASE("cuda device: memory that is not there is told with what was asked, held and free", "[unit]") {
    EmulatedGpu device;
    const Tensor some(device, DType::u8, {1 << 20});
    CHECK_THROWS_WITH(device.allocate(index_t{1} << 46), Catch::Contains("no 70368744177664 bytes") &&
                                                             Catch::Contains("this rank holds 1048576,") &&
                                                             Catch::Contains("are free") &&
                                                             Catch::Contains("micro-batches"));
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
