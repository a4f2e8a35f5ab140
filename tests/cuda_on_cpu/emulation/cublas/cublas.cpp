#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/emulation/cublas/product.hpp"
#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

struct cublasContext {
    cudaStream_t stream = nullptr;
};

namespace sy::emulation {
namespace {

cublasStatus_t refuse(cublasStatus_t status, const std::string& why) {
    report("cuBLAS: " + why);
    return status;
}

struct Types {
    cudaDataType_t a;
    cudaDataType_t b;
    cudaDataType_t c;
};

bool are_supported(const Types& types, cublasComputeType_t compute) {
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC &&
        compute != CUBLAS_COMPUTE_32F_FAST_TF32) {
        return false;
    }
    const bool are_floats = types.a == CUDA_R_32F && types.c == CUDA_R_32F;
    const bool are_halves = types.a == CUDA_R_16BF && (types.c == CUDA_R_16BF || types.c == CUDA_R_32F) &&
                            compute != CUBLAS_COMPUTE_32F_FAST_TF32;
    return types.a == types.b && (are_floats || are_halves);
}

Product make_product(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const Types& types,
                     int lda, int ldb, int ldc, cublasComputeType_t compute_type) {
    Product product;
    product.rounds_to_tf32 = compute_type == CUBLAS_COMPUTE_32F_FAST_TF32;
    product.op_a = op_a;
    product.op_b = op_b;
    product.m = m;
    product.n = n;
    product.k = k;
    product.a = {nullptr, types.a, op_a == CUBLAS_OP_N ? m : k, op_a == CUBLAS_OP_N ? k : m, lda};
    product.b = {nullptr, types.b, op_b == CUBLAS_OP_N ? k : n, op_b == CUBLAS_OP_N ? n : k, ldb};
    product.c = {nullptr, types.c, m, n, ldc};
    return product;
}

/// Sizes and strides, as cuBLAS checks them.
cublasStatus_t check_shape(const Product& product) {
    const auto is_operation = [](cublasOperation_t op) { return op == CUBLAS_OP_N || op == CUBLAS_OP_T; };
    if (!is_operation(product.op_a) || !is_operation(product.op_b)) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "an operation that is neither N nor T");
    }
    if (product.m < 0 || product.n < 0 || product.k < 0) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a size below 0");
    }
    for (const Operand* operand : {&product.a, &product.b, &product.c}) {
        if (operand->stride < std::max(1, operand->rows)) {
            return refuse(CUBLAS_STATUS_INVALID_VALUE,
                          "a leading dimension of " + std::to_string(operand->stride) + " for columns of " +
                              std::to_string(operand->rows));
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}

/// Whether all an operand spans, through so many products `step` elements apart, is live device memory.
bool is_on_device(const Operand& operand, long long step = 0, int num_products = 1) {
    if (operand.rows == 0 || operand.cols == 0 || num_products == 0) return true;
    const std::size_t each = operand.type == CUDA_R_16BF ? 2 : 4;
    const auto last = std::size_t(operand.cols - 1) * std::size_t(operand.stride) +
                      std::size_t(operand.rows) + std::size_t(num_products - 1) * std::size_t(step);
    return is_device(operand.first, last * each);
}

cublasStatus_t enqueue_products(cublasHandle_t handle, const char* name, std::function<bool()> work) {
    return enqueue(handle->stream, name, std::move(work)) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                         : CUBLAS_STATUS_EXECUTION_FAILED;
}

/// Products one after the other in memory.
struct Batch {
    long long step_a = 0;
    long long step_b = 0;
    long long step_c = 0;
    int num_products = 1;
};

const void* moved(const Operand& operand, long long elements) {
    return static_cast<const char*>(operand.first) + elements * (operand.type == CUDA_R_16BF ? 2 : 4);
}

cublasStatus_t multiply(cublasHandle_t handle, const Product& product, const Batch& batch) {
    const cublasStatus_t shape = check_shape(product);
    if (shape != CUBLAS_STATUS_SUCCESS) return shape;
    if (batch.num_products < 0) return refuse(CUBLAS_STATUS_INVALID_VALUE, "a number of products below 0");
    if (!is_on_device(product.a, batch.step_a, batch.num_products) ||
        !is_on_device(product.b, batch.step_b, batch.num_products) ||
        !is_on_device(product.c, batch.step_c, batch.num_products)) {
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "an operand reaches beyond live device memory");
    }
    return enqueue_products(handle, "cuBLAS product", [product, batch] {
        for (int i = 0; i < batch.num_products; ++i) {
            Product each = product;
            each.a.first = moved(product.a, i * batch.step_a);
            each.b.first = moved(product.b, i * batch.step_b);
            each.c.first = moved(product.c, i * batch.step_c);
            compute(each);
        }
        return true;
    });
}

void set_pointers(Product& product, const void* a, const void* b, void* c) {
    product.a.first = a;
    product.b.first = b;
    product.c.first = c;
}

/// Runs when the stream gets there: only then the arrays of pointers are read.
void compute_group(std::vector<Product>& products, const void* const* a, const void* const* b,
                   void* const* c) {
    for (const void* array :
         {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(c)}) {
        sanitizer::read(array, products.size() * sizeof(void*));
    }
    for (std::size_t i = 0; i < products.size(); ++i) {
        Product& product = products[i];
        set_pointers(product, a[i], b[i], c[i]);
        for (const Operand* operand : {&product.a, &product.b, &product.c}) {
            const bool is_aligned = reinterpret_cast<std::uintptr_t>(operand->first) % 16 == 0;
            if (is_aligned && is_on_device(*operand)) continue;
            report("cuBLAS: product " + std::to_string(i) + " of a group has an operand that is " +
                   (is_aligned ? "not in live device memory" : "not aligned to 16 bytes"));
            break_device(is_aligned ? cudaErrorIllegalAddress : cudaErrorMisalignedAddress);
            return;
        }
        compute(product);
    }
}

/// Sizes and strides of 64 bits that the 32 of the emulation hold; `fits` becomes false where one does not.
int narrowed(std::int64_t value, bool& fits) {
    fits = fits && value >= std::numeric_limits<int>::min() && value <= std::numeric_limits<int>::max();
    return int(value);
}

std::vector<int> narrowed(const std::int64_t* values, std::int64_t count, bool& fits) {
    std::vector<int> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(narrowed(values[i], fits));
    return all;
}

cublasStatus_t refuse_size() {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the emulation multiplies no sides of more than 31 bits");
}

}  // namespace
}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    if (sticky_error() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t) {
    return handle == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    const bool is_good =
        reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0 && is_device(workspace, bytes);
    return is_good ? CUBLAS_STATUS_SUCCESS
                   : refuse(CUBLAS_STATUS_INVALID_VALUE,
                            "a workspace that is no device memory aligned to 256 bytes");
}

const char* cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:
            return "success";
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "the library was not initialized";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "an unsupported value or parameter was passed to the function";
        case CUBLAS_STATUS_NOT_SUPPORTED:
            return "the functionality requested is not supported";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "the GPU program failed to execute";
        default:
            return "unknown status";
    }
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int* version) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    *version = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType_t a_type, int lda, long long step_a,
                                          const void* b, cudaDataType_t b_type, int ldb, long long step_b,
                                          const void* beta, void* c, cudaDataType_t c_type, int ldc,
                                          long long step_c, int num_products,
                                          cublasComputeType_t compute_type, cublasGemmAlgo_t) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (alpha == nullptr || beta == nullptr)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "alpha or beta is null");
    const Types types{a_type, b_type, c_type};
    if (!are_supported(types, compute_type)) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "these types of operands and sums");
    }
    Product product = make_product(op_a, op_b, m, n, k, types, lda, ldb, ldc, compute_type);
    product.alpha = *static_cast<const float*>(alpha);
    product.beta = *static_cast<const float*>(beta);
    set_pointers(product, a, b, c);
    return multiply(handle, product, {step_a, step_b, step_c, num_products});
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType_t a_type, int lda,
                            const void* b, cudaDataType_t b_type, int ldb, const void* beta, void* c,
                            cudaDataType_t c_type, int ldc, cublasComputeType_t compute_type,
                            cublasGemmAlgo_t algorithm) {
    return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb,
                                      0, beta, c, c_type, ldc, 0, 1, compute_type, algorithm);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                              int n, int k, const float* alpha, const float* a, int lda, const float* b,
                              int ldb, const float* beta, float* c, int ldc) {
    return cublasGemmEx(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta, c,
                        CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

// Shapes are read when the call is made, pointers when the stream gets there: the moments of the real library.
cublasStatus_t cublasGemmGroupedBatchedEx(cublasHandle_t handle, const cublasOperation_t op_a[],
                                          const cublasOperation_t op_b[], const int m[], const int n[],
                                          const int k[], const void* alpha, const void* const a[],
                                          cudaDataType_t a_type, const int lda[], const void* const b[],
                                          cudaDataType_t b_type, const int ldb[], const void* beta,
                                          void* const c[], cudaDataType_t c_type, const int ldc[],
                                          int num_groups, const int group_size[],
                                          cublasComputeType_t compute_type) {
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (num_groups < 0) return refuse(CUBLAS_STATUS_INVALID_VALUE, "a number of groups below 0");
    if (std::any_of(group_size, group_size + num_groups, [](int size) { return size < 0; })) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a group of less than no products");
    }
    const Types types{a_type, b_type, c_type};
    if (!are_supported(types, compute_type) || a_type != c_type) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "these types of operands and sums in groups");
    }
    std::vector<Product> products;
    for (int group = 0; group < num_groups; ++group) {
        Product product = make_product(op_a[group], op_b[group], m[group], n[group], k[group], types,
                                       lda[group], ldb[group], ldc[group], compute_type);
        product.alpha = static_cast<const float*>(alpha)[group];
        product.beta = static_cast<const float*>(beta)[group];
        const cublasStatus_t shape = check_shape(product);
        if (shape != CUBLAS_STATUS_SUCCESS) return shape;
        products.insert(products.end(), std::size_t(group_size[group]), product);
    }
    const std::size_t bytes = products.size() * sizeof(void*);
    if (!is_device(a, bytes) || !is_device(b, bytes) || !is_device(c, bytes)) {
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "an array of pointers that is not in device memory");
    }
    return enqueue_products(handle, "cuBLAS grouped product", [products, a, b, c]() mutable {
        compute_group(products, a, b, c);
        return true;
    });
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                               std::int64_t m, std::int64_t n, std::int64_t k, const void* alpha,
                               const void* a, cudaDataType_t a_type, std::int64_t lda, const void* b,
                               cudaDataType_t b_type, std::int64_t ldb, const void* beta, void* c,
                               cudaDataType_t c_type, std::int64_t ldc, cublasComputeType_t compute_type,
                               cublasGemmAlgo_t algorithm) {
    bool fits = true;
    const int sides[] = {narrowed(m, fits),   narrowed(n, fits),   narrowed(k, fits),
                         narrowed(lda, fits), narrowed(ldb, fits), narrowed(ldc, fits)};
    if (!fits) return refuse_size();
    return cublasGemmEx(handle, op_a, op_b, sides[0], sides[1], sides[2], alpha, a, a_type, sides[3], b,
                        b_type, sides[4], beta, c, c_type, sides[5], compute_type, algorithm);
}

cublasStatus_t cublasGemmGroupedBatchedEx_64(
    cublasHandle_t handle, const cublasOperation_t op_a[], const cublasOperation_t op_b[],
    const std::int64_t m[], const std::int64_t n[], const std::int64_t k[], const void* alpha,
    const void* const a[], cudaDataType_t a_type, const std::int64_t lda[], const void* const b[],
    cudaDataType_t b_type, const std::int64_t ldb[], const void* beta, void* const c[], cudaDataType_t c_type,
    const std::int64_t ldc[], std::int64_t num_groups, const std::int64_t group_size[],
    cublasComputeType_t compute_type) {
    bool fits = true;
    const auto all = [&](const std::int64_t* values) { return narrowed(values, num_groups, fits); };
    const std::vector<int> ms = all(m), ns = all(n), ks = all(k), a_strides = all(lda), b_strides = all(ldb),
                           c_strides = all(ldc), sizes = all(group_size);
    const int count = narrowed(num_groups, fits);
    if (!fits) return refuse_size();
    return cublasGemmGroupedBatchedEx(handle, op_a, op_b, ms.data(), ns.data(), ks.data(), alpha, a, a_type,
                                      a_strides.data(), b, b_type, b_strides.data(), beta, c, c_type,
                                      c_strides.data(), count, sizes.data(), compute_type);
}

}  // extern "C"
