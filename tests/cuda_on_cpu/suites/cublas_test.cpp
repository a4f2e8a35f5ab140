#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <cmath>
#include <random>

#include "tests/cuda_on_cpu/suites/support.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

class Handle {
  public:
    explicit Handle(cudaStream_t stream) {
        REQUIRE(cublasCreate(&handle_) == CUBLAS_STATUS_SUCCESS);
        REQUIRE(cublasSetStream(handle_, stream) == CUBLAS_STATUS_SUCCESS);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { cublasDestroy(handle_); }
    operator cublasHandle_t() const { return handle_; }

  private:
    cublasHandle_t handle_ = nullptr;
};

std::vector<float> random_values(std::size_t size, unsigned seed) {
    std::mt19937 generator(seed);
    std::vector<float> values(size);
    for (float& value : values)
        value = float(int(generator() % 17) - 8) / 4.0F;  // exact in bf16, and so are sums
    return values;
}

std::vector<__nv_bfloat16> to_bf16(const std::vector<float>& values) {
    std::vector<__nv_bfloat16> rounded;
    for (const float value : values) rounded.push_back(__float2bfloat16(value));
    return rounded;
}

/// C in double, element by element: column-major, with strides.
float reference(bool turn_a, bool turn_b, int k, const std::vector<float>& a, int lda,
                const std::vector<float>& b, int ldb, int row, int col) {
    double sum = 0.0;
    for (int i = 0; i < k; ++i) {
        sum += double(a[std::size_t(turn_a ? row * lda + i : i * lda + row)]) *
               double(b[std::size_t(turn_b ? i * ldb + col : col * ldb + i)]);
    }
    return float(sum);
}

}  // namespace

TEST_CASE("cuda_on_cpu: a product by cuBLAS is that of its definition, for every transposition", "[unit]") {
    const Machine machine;
    const Stream stream;
    const Handle handle(stream);
    const int m = 5, n = 7, k = 3, lda = 9, ldb = 8, ldc = 6;
    const std::vector<float> a = random_values(81, 1);
    const std::vector<float> b = random_values(64, 2);
    const std::vector<float> c = random_values(std::size_t(ldc * n), 3);
    const float alpha = 2.0F;
    for (const float beta : {0.0F, 0.5F}) {
        for (const bool turn_a : {false, true}) {
            for (const bool turn_b : {false, true}) {
                const DeviceArray<float> da(a);
                const DeviceArray<float> db(b);
                const DeviceArray<float> dc(beta == 0.0F ? std::vector<float>(c.size(), NAN) : c);
                REQUIRE(cublasSgemm(handle, turn_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                                    turn_b ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &alpha, da.get(), lda,
                                    db.get(), ldb, &beta, dc.get(), ldc) == CUBLAS_STATUS_SUCCESS);
                REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
                const std::vector<float> found = dc.to_host();
                for (int col = 0; col < n; ++col) {
                    for (int row = 0; row < m; ++row) {
                        const auto at = std::size_t(col * ldc + row);
                        const float expected =
                            alpha * reference(turn_a, turn_b, k, a, lda, b, ldb, row, col) +
                            (beta == 0.0F ? 0.0F : beta * c[at]);
                        REQUIRE(found[at] == expected);
                    }
                }
            }
        }
    }
}

TEST_CASE("cuda_on_cpu: a batch and a group of products in bf16 are those products", "[unit]") {
    const Machine machine;
    const Stream stream;
    const Handle handle(stream);
    const int m = 8, n = 4, k = 16;
    const std::vector<float> a = random_values(std::size_t(3 * m * k), 4);
    const std::vector<float> b = random_values(std::size_t(3 * k * n), 5);
    const DeviceArray<__nv_bfloat16> da(to_bf16(a));
    const DeviceArray<__nv_bfloat16> db(to_bf16(b));
    const DeviceArray<float> dc(std::size_t(3 * m * n));
    const float one = 1.0F;
    const float zero = 0.0F;
    REQUIRE(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, da.get(), CUDA_R_16BF,
                                       m, m * k, db.get(), CUDA_R_16BF, k, k * n, &zero, dc.get(), CUDA_R_32F,
                                       m, m * n, 3, CUBLAS_COMPUTE_32F,
                                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    const DeviceArray<__nv_bfloat16> grouped(std::size_t(3 * m * n));
    const std::vector<const void*> a_pointers{da.get(), da.get() + m * k, da.get() + 2 * m * k};
    const std::vector<const void*> b_pointers{db.get(), db.get() + k * n, db.get() + 2 * k * n};
    const std::vector<void*> c_pointers{grouped.get(), grouped.get() + m * n, grouped.get() + 2 * m * n};
    const DeviceArray<const void*> a_table(a_pointers);
    const DeviceArray<const void*> b_table(b_pointers);
    const DeviceArray<void*> c_table(c_pointers);
    const std::vector<cublasOperation_t> ops{CUBLAS_OP_N, CUBLAS_OP_N};
    const std::vector<int> ms{m, m}, ns{n, n}, ks{k, k}, sizes{2, 1};
    const std::vector<float> ones{1.0F, 1.0F}, zeros{0.0F, 0.0F};
    REQUIRE(cublasGemmGroupedBatchedEx(
                handle, ops.data(), ops.data(), ms.data(), ns.data(), ks.data(), ones.data(), a_table.get(),
                CUDA_R_16BF, ms.data(), b_table.get(), CUDA_R_16BF, ks.data(), zeros.data(), c_table.get(),
                CUDA_R_16BF, ms.data(), 2, sizes.data(), CUBLAS_COMPUTE_32F) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    const std::vector<float> batched = dc.to_host();
    const std::vector<__nv_bfloat16> rounded = grouped.to_host();
    for (int i = 0; i < 3 * m * n; ++i) {
        const int which = i / (m * n), col = i % (m * n) / m, row = i % m;
        const std::vector<float> own_a(a.begin() + which * m * k, a.end());
        const std::vector<float> own_b(b.begin() + which * k * n, b.end());
        const float expected = reference(false, false, k, own_a, m, own_b, k, row, col);
        REQUIRE(batched[std::size_t(i)] == expected);
        REQUIRE(__bfloat162float(rounded[std::size_t(i)]) == __bfloat162float(__float2bfloat16(expected)));
    }
}

TEST_CASE("cuda_on_cpu: TF32 is what was asked for, and shows", "[unit]") {
    const Machine machine;
    const Stream stream;
    const Handle handle(stream);
    const DeviceArray<float> factors({1.0F + 0x1p-12F, 1.0F});
    const float one = 1.0F;
    const float zero = 0.0F;
    const auto multiply = [&](cublasComputeType_t compute) {
        const DeviceArray<float> product(1);
        REQUIRE(cublasGemmEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, factors.get(), CUDA_R_32F, 1,
                                factors.get() + 1, CUDA_R_32F, 1, &zero, product.get(), CUDA_R_32F, 1,
                                compute, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        return product.to_host().front();
    };
    REQUIRE(multiply(CUBLAS_COMPUTE_32F_PEDANTIC) == 1.0F + 0x1p-12F);
    REQUIRE(multiply(CUBLAS_COMPUTE_32F_FAST_TF32) == 1.0F);
}

TEST_CASE("cuda_on_cpu: cuBLAS refuses what the library refuses", "[unit]") {
    const Machine machine;
    const Stream stream;
    const Handle handle(stream);
    const DeviceArray<float> values(random_values(64, 6));
    std::vector<float> pageable(64);
    const float one = 1.0F;
    const auto multiply = [&](int m, int lda, const float* a, cudaDataType_t b_type) {
        return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, 4, 4, &one, a, CUDA_R_32F, lda, values.get(),
                            b_type, 4, &one, values.get(), CUDA_R_32F, 8, CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT);
    };
    REQUIRE(multiply(4, 4, values.get(), CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(multiply(4, 3, values.get(), CUDA_R_32F) == CUBLAS_STATUS_INVALID_VALUE);
    REQUIRE_THAT(last_report(), Contains("a leading dimension of 3 for columns of 4"));
    REQUIRE(multiply(-1, 4, values.get(), CUDA_R_32F) == CUBLAS_STATUS_INVALID_VALUE);
    REQUIRE(multiply(4, 4, values.get(), CUDA_R_16BF) == CUBLAS_STATUS_NOT_SUPPORTED);
    REQUIRE(multiply(4, 4, pageable.data(), CUDA_R_32F) == CUBLAS_STATUS_EXECUTION_FAILED);
    REQUIRE(multiply(4, 4, values.get() + 60, CUDA_R_32F) == CUBLAS_STATUS_EXECUTION_FAILED);
    REQUIRE_THAT(last_report(), Contains("reaches beyond live device memory"));
    REQUIRE(cublasGemmEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, values.get(), CUDA_R_32F,
                            std::int64_t{1} << 40, values.get(), CUDA_R_32F, 4, &one, values.get(),
                            CUDA_R_32F, 8, CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
    REQUIRE(cublasGemmEx(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, values.get(), CUDA_R_32F, 1,
                         values.get(), CUDA_R_32F, 1, &one, values.get(), CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
                         CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_INITIALIZED);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
}
