// Products by cuBLAS. It is column-major: row-major C = op(A) op(B) is, read by columns, C^T = op(B)^T op(A)^T, so that its
// first operand is our second and nothing is transposed.
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/cuda/cublas_functions.hpp"
#include "kernels/cuda/error.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/product_library.hpp"
#include "kernels/cuda/stream.hpp"

namespace sy::cuda {
namespace {

/// cuBLAS asks for it, of the workspace and of operands of groups.
constexpr std::uintptr_t kWorkspaceAlignment = 256;
constexpr std::uintptr_t kGroupAlignment = 16;

/// What cuBLAS is told of a product.
struct Call {
    cublasOperation_t op_first;
    cublasOperation_t op_second;
    std::int64_t m;
    std::int64_t n;
    std::int64_t k;
    std::int64_t first_stride;
    std::int64_t second_stride;
    std::int64_t c_stride;
    float beta;
};

/// Rows that are one or none may have any stride; cuBLAS wants one that could hold them.
template <class Byte>
std::int64_t stride_of(const BasicTensorRef<Byte>& ref) {
    return std::max({ref.stride(), ref.cols(), index_t{1}});
}

Call call_of(const LibraryProduct& product) {
    const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    return {op(product.b_transposed),
            op(product.a_transposed),
            product.c.cols(),
            product.c.rows(),
            product.a_transposed ? product.a.rows() : product.a.cols(),
            stride_of(product.b),
            stride_of(product.a),
            stride_of(product.c),
            product.adds ? 1.0F : 0.0F};
}

cudaDataType_t type_of(DType dtype) {
    return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// "Pedantic" rules out TF32 and emulation by bf16, which environment variables of NVIDIA's could else bring in.
cublasComputeType_t compute_type_of(DType dtype) {
    return dtype == DType::bf16 ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_PEDANTIC;
}

std::string describe(const LibraryProduct& product) {
    const auto operand = [](ConstTensorRef ref, bool transposed) {
        return concat("[", ref.rows(), ", ", ref.cols(), "]", transposed ? "^T" : "");
    };
    return concat(operand(product.a, product.a_transposed), " times ",
                  operand(product.b, product.b_transposed), " in ", dtype_name(product.a.dtype()),
                  product.adds ? " added to " : " into ", operand(product.c, false));
}

class Cublas : public ProductLibrary {
  public:
    Cublas(CublasFunctions functions, Device& device);
    ~Cublas() override;

    void multiply(const LibraryProduct& product, const Context& context) override;
    bool takes_group(std::span<const LibraryProduct> products) const override;
    void multiply_group(std::span<const LibraryProduct> products, const Context& context) override;
    /// "cuBLAS 13.1.0 of /usr/lib/libcublas.so.13"
    std::string note();

  private:
    /// A handle and a workspace for each stream: with those shared, bits would depend on what other streams do.
    struct Queue {
        cudaStream_t stream;
        cublasHandle_t handle;
        Buffer workspace;
    };

    cublasHandle_t handle_of(cudaStream_t stream);
    template <class Describe>
    void check(cublasStatus_t status, const Describe& describe_call) const;

    CublasFunctions functions_;
    Device& device_;
    std::vector<Queue> queues_;
};

Cublas::Cublas(CublasFunctions functions, Device& device)
    : functions_(std::move(functions)), device_(device) {
    // What is wrong with the library shows at the start, not at the first product.
    handle_of(static_cast<CudaStream&>(device.compute()).get());
}

Cublas::~Cublas() {
    // A failure here was reported by the call that caused it, or the process ends anyway.
    for (const Queue& queue : queues_) static_cast<void>(functions_.destroy(queue.handle));
}

template <class Describe>
void Cublas::check(cublasStatus_t status, const Describe& describe_call) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    const char* advice = "";
    if (status == CUBLAS_STATUS_ALLOC_FAILED || status == CUBLAS_STATUS_NOT_INITIALIZED)
        advice = "; no driver, or the GPU's memory is full: smaller micro-batches or more ranks need less";
    if (status == CUBLAS_STATUS_EXECUTION_FAILED)
        advice = "; a kernel went wrong, maybe one queued earlier: compute-sanitizer names the line";
    throw CudaError(concat("cuda: cuBLAS, ", describe_call(), ": ", functions_.get_status_string(status),
                           " (", static_cast<int>(status), ")", advice));
}

cublasHandle_t Cublas::handle_of(cudaStream_t stream) {
    for (const Queue& queue : queues_) {
        if (queue.stream == stream) return queue.handle;
    }
    const auto describe_call = [] { return "a handle for a stream"; };
    const index_t bytes = functions_.workspace_bytes;
    Queue queue{stream, nullptr, device_.allocate(bytes + static_cast<index_t>(kWorkspaceAlignment))};
    check(functions_.create(&queue.handle), describe_call);
    queues_.push_back(std::move(queue));
    const Queue& kept = queues_.back();
    const auto address = reinterpret_cast<std::uintptr_t>(queues_.back().workspace.data());
    const std::uintptr_t aligned =
        (address + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
    // In this order: another stream takes the workspace away.
    check(functions_.set_stream(kept.handle, stream), describe_call);
    check(functions_.set_workspace(kept.handle, reinterpret_cast<void*>(aligned),
                                   static_cast<std::size_t>(bytes)),
          describe_call);
    return kept.handle;
}

std::string Cublas::note() {
    int version = 0;
    check(functions_.get_version(queues_.front().handle, &version), [] { return "its version"; });
    return concat("cuBLAS ", version / 10000, ".", version / 100 % 100, ".", version % 100, " of ",
                  functions_.place);
}

void Cublas::multiply(const LibraryProduct& product, const Context& context) {
    const Call call = call_of(product);
    const cudaDataType_t type = type_of(product.a.dtype());
    const float one = 1.0F;
    const cublasStatus_t status = functions_.gemm(
        handle_of(stream_of(context)), call.op_first, call.op_second, call.m, call.n, call.k, &one,
        DeviceAccess::address(product.b), type, call.first_stride, DeviceAccess::address(product.a), type,
        call.second_stride, &call.beta, DeviceAccess::address(product.c), CUDA_R_32F, call.c_stride,
        compute_type_of(product.a.dtype()), CUBLAS_GEMM_DEFAULT);
    check(status, [&] { return describe(product); });
    static_cast<CudaStream&>(context.stream).count_launch();
}

bool Cublas::takes_group(std::span<const LibraryProduct> products) const {
    // Groups of bf16 have results in bf16, and ours are float32.
    return std::ranges::all_of(products, [](const LibraryProduct& product) {
        const auto is_aligned = [](ConstTensorRef ref) {
            return reinterpret_cast<std::uintptr_t>(DeviceAccess::address(ref)) % kGroupAlignment == 0 &&
                   stride_of(ref) * dtype_bytes(ref.dtype()) % static_cast<index_t>(kGroupAlignment) == 0;
        };
        return product.a.dtype() == DType::f32 && is_aligned(product.a) && is_aligned(product.b) &&
               is_aligned(product.c);
    });
}

void Cublas::multiply_group(std::span<const LibraryProduct> products, const Context& context) {
    const std::size_t count = products.size();
    std::vector<cublasOperation_t> op_first, op_second;
    std::vector<std::int64_t> m, n, k, first_stride, second_stride, c_stride;
    std::vector<float> beta;
    // Addresses of all first operands, of all second ones, and of all results.
    std::vector<std::int64_t> addresses(3 * count);
    for (std::size_t i = 0; i < count; ++i) {
        const Call call = call_of(products[i]);
        op_first.push_back(call.op_first);
        op_second.push_back(call.op_second);
        m.push_back(call.m);
        n.push_back(call.n);
        k.push_back(call.k);
        first_stride.push_back(call.first_stride);
        second_stride.push_back(call.second_stride);
        c_stride.push_back(call.c_stride);
        beta.push_back(call.beta);
        const std::array<const void*, 3> operands{DeviceAccess::address(products[i].b),
                                                  DeviceAccess::address(products[i].a),
                                                  DeviceAccess::address(products[i].c)};
        for (std::size_t operand = 0; operand < operands.size(); ++operand)
            addresses[operand * count + i] =
                static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(operands[operand]));
    }
    const HostList<std::int64_t> list(addresses, context);
    const auto* const firsts = reinterpret_cast<const void* const*>(list.data());
    const auto* const results = reinterpret_cast<void* const*>(list.data()) + 2 * count;
    const std::vector<std::int64_t> sizes(count, 1);
    const std::vector<float> ones(count, 1.0F);
    const DType dtype = products.front().a.dtype();
    const cublasStatus_t status = functions_.gemm_group(
        handle_of(stream_of(context)), op_first.data(), op_second.data(), m.data(), n.data(), k.data(),
        ones.data(), firsts, type_of(dtype), first_stride.data(), firsts + count, type_of(dtype),
        second_stride.data(), beta.data(), results, CUDA_R_32F, c_stride.data(),
        static_cast<std::int64_t>(count), sizes.data(), compute_type_of(dtype));
    check(status,
          [&] { return concat("a group of ", count, " products, the first ", describe(products.front())); });
    static_cast<CudaStream&>(context.stream).count_launch();
}

}  // namespace

FoundProductLibrary find_cublas(Device& device) {
    CublasFunctions functions = load_cublas_functions();
    if (functions.place.empty())
        return {nullptr, concat("kernels of its own: no cuBLAS was found: ", functions.missing)};
    auto library = std::make_unique<Cublas>(std::move(functions), device);
    std::string note = library->note();
    return {std::move(library), std::move(note)};
}

}  // namespace sy::cuda
