// Graphs that are built for cuDNN, given to the real library: does it take them, for an H100, and by which kernel? It compiles
// its plans without a GPU where a description of one is at hand and something answers for the driver (stand_in_driver.cpp).
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "kernels/cuda/cudnn_attention.hpp"
#include "kernels/cuda/error.hpp"

using namespace sy;
using namespace sy::cuda;
using Catch::Matchers::Contains;
using Mask = CudnnAttentionShape::Mask;

namespace {

constexpr const char* kH100 = R"({"smVersion": 900, "deviceVer": 900, "deviceName": "NVIDIA H100 80GB HBM3",
"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
"multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 232448, "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024,
"maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
"pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
"memoryBusWidth": 5120, "l2CacheSize": 52428800, "driverVer": 13000, "schemaVersion": 1,
"totalGlobalMem": 85000000000, "cudaDeviceId": 0, "cudnnVersion": )";

/// The library, and an H100 as it describes one.
class Machine {
  public:
    Machine() : functions_(loaded()), properties_(functions_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
        const std::string json = concat(kH100, functions_.get_version(), "}");
        properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                        std::span<const char>(json));
        properties_.finalize("the properties of an H100");
    }
    const CudnnFunctions& functions() const { return functions_; }
    cudnnBackendDescriptor_t properties() const { return properties_.get(); }
    CudnnPlan plan(const CudnnAttentionShape& shape) const {
        return plan_attention(functions_, shape, properties());
    }

  private:
    static CudnnFunctions loaded() {
        CudnnFunctions functions = load_cudnn_functions();
        INFO(functions.missing);
        REQUIRE_FALSE(functions.place.empty());
        return functions;
    }

    CudnnFunctions functions_;
    CudnnDescriptor properties_;
};

/// The name of the first kernel of a plan, from its own description.
std::string kernel_of(const CudnnPlan& plan) {
    std::string json(std::size_t{4} << 20, ' ');
    const index_t size = plan.descriptor.get(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                             std::span<char>(json));
    REQUIRE(size < static_cast<index_t>(json.size()));
    const std::string key = "\"kernelName\":\"";
    const std::size_t begin = json.find(key);
    REQUIRE(begin != std::string::npos);
    const std::size_t name = begin + key.size();
    return json.substr(name, json.find('"', name) - name);
}

CudnnAttentionShape causal(index_t seq_len, index_t head_dim, index_t value_dim) {
    return {.num_sequences = 2,
            .seq_len = seq_len,
            .key_len = seq_len,
            .heads = 16,
            .kv_heads = 4,
            .head_dim = head_dim,
            .value_dim = value_dim};
}

/// Rows of experts, one after another, times their matrices.
CudnnPlan plan_experts(const Machine& machine, cudnnDataType_t in, cudnnDataType_t out) {
    constexpr std::int64_t kExperts = 64, kRows = 4096, kIn = 2048, kOut = 1536;
    CudnnGraph graph(machine.functions());
    const auto x = graph.operand(1, {{1, kRows, kIn}, {kRows * kIn, kIn, 1}, in});
    const auto w = graph.operand(2, {{kExperts, kIn, kOut}, {kIn * kOut, 1, kIn}, in});
    const auto first = graph.operand(3, {{kExperts, 1, 1}, {1, 1, 1}, CUDNN_DATA_INT32});
    const auto y = graph.operand(4, {{1, kRows, kOut}, {kRows * kOut, kOut, 1}, out});
    CudnnDescriptor operation(machine.functions(), CUDNN_BACKEND_OPERATION_MOE_GROUPED_MATMUL_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_MODE, CUDNN_TYPE_MOE_GROUPED_MATMUL_MODE,
                  CUDNN_MOE_GROUPED_MATMUL_MODE_NONE);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_TOKEN_DESC, x);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_WEIGHT_DESC, w);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_FIRST_TOKEN_OFFSET_DESC, first);
    operation.set(CUDNN_ATTR_OPERATION_MOE_GROUPED_MATMUL_OUTPUT_DESC, y);
    graph.add(std::move(operation), "a grouped product");
    return graph.plan(machine.properties());
}

}  // namespace

TEST_CASE(
    "cudnn: attention of an H100 is one kernel for heads up to 256, causal or not, with groups and windows",
    "[unit]") {
    const Machine machine;
    CudnnAttentionShape all = causal(512, 64, 64);
    all.mask = Mask::none;
    all.key_len = 384;
    CudnnAttentionShape windowed = causal(2048, 128, 128);
    windowed.window = 512;
    // The last ones are MLA's heads, and sequences that do not fill a tile.
    const std::array shapes{all,
                            windowed,
                            causal(512, 16, 16),
                            causal(512, 40, 40),
                            causal(2048, 128, 128),
                            causal(512, 256, 256),
                            causal(512, 192, 128),
                            causal(77, 64, 64)};
    for (const CudnnAttentionShape& shape : shapes) {
        CAPTURE(shape.seq_len, shape.head_dim, shape.value_dim, shape.window);
        const CudnnPlan plan = machine.plan(shape);
        CHECK_THAT(kernel_of(plan), Contains("sdpa_sm90_flash_fprop_wgmma"));
        CHECK(plan.workspace_bytes >= 0);
    }
}

TEST_CASE("cudnn: attention of wider heads, and of a single query, runs on the kernels of an A100",
          "[unit]") {
    const Machine machine;
    CHECK_THAT(kernel_of(machine.plan(causal(512, 512, 512))), Contains("sdpa_sm80_flash_fprop"));
    CHECK_THAT(kernel_of(machine.plan(causal(1, 64, 64))), Contains("sdpa_sm80_flash_fprop"));
}

TEST_CASE(
    "cudnn: a head whose width is no multiple of 8 is refused, and the error says that there is no engine",
    "[unit]") {
    const Machine machine;
    for (const index_t width : {7, 36, 100}) {
        CAPTURE(width);
        CHECK_THROWS_WITH(machine.plan(causal(512, width, width)), Contains("no engine"));
    }
}

TEST_CASE("cudnn: a tensor without sides is refused in cuDNN's words", "[unit]") {
    const Machine machine;
    CudnnGraph graph(machine.functions());
    CHECK_THROWS_WITH(graph.operand(1, {{}, {}, CUDNN_DATA_FLOAT}),
                      Contains("attribute") && Contains("CUDNN_STATUS"));
}

TEST_CASE("cudnn: the grouped product of experts gives float32 of bf16", "[unit]") {
    const Machine machine;
    for (const cudnnDataType_t out : {CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT}) {
        CAPTURE(static_cast<int>(out));
        CHECK_THAT(kernel_of(plan_experts(machine, CUDNN_DATA_BFLOAT16, out)), Contains("moeGroupedMatMul"));
    }
}
