#include "tests/cuda_on_cpu/emulation/cublas/product.hpp"

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"

namespace sy::emulation {
namespace {

std::size_t bytes_of(cudaDataType_t type) {
    return type == CUDA_R_16BF ? sizeof(__nv_bfloat16) : sizeof(float);
}

const char* column(const Operand& operand, int col) {
    return static_cast<const char*>(operand.first) +
           std::size_t(col) * std::size_t(operand.stride) * bytes_of(operand.type);
}

/// The operand in float, its columns without gaps.
std::vector<float> widen(const Operand& operand) {
    std::vector<float> values(std::size_t(operand.rows) * std::size_t(operand.cols));
    float* to = values.data();
    for (int col = 0; col < operand.cols; ++col) {
        const char* from = column(operand, col);
        sanitizer::read(from, std::size_t(operand.rows) * bytes_of(operand.type));
        for (int row = 0; row < operand.rows; ++row) {
            *to++ = operand.type == CUDA_R_16BF
                        ? __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(from)[row])
                        : reinterpret_cast<const float*>(from)[row];
        }
    }
    return values;
}

void store(const std::vector<float>& values, const Operand& operand) {
    const float* from = values.data();
    for (int col = 0; col < operand.cols; ++col) {
        char* to = const_cast<char*>(column(operand, col));
        sanitizer::write(to, std::size_t(operand.rows) * bytes_of(operand.type));
        for (int row = 0; row < operand.rows; ++row) {
            if (operand.type == CUDA_R_16BF) {
                reinterpret_cast<__nv_bfloat16*>(to)[row] = __float2bfloat16(*from++);
            } else {
                reinterpret_cast<float*>(to)[row] = *from++;
            }
        }
    }
}

std::vector<float> transposed(const std::vector<float>& values, int rows, int cols) {
    std::vector<float> turned(values.size());
    for (int col = 0; col < cols; ++col) {
        for (int row = 0; row < rows; ++row) {
            turned[std::size_t(row) * std::size_t(cols) + std::size_t(col)] =
                values[std::size_t(col) * std::size_t(rows) + std::size_t(row)];
        }
    }
    return turned;
}

/// To the nearest number of TF32, which has the exponent of float and 10 bits behind the point.
float to_tf32(float value) {
    constexpr std::uint32_t kDropped = 13;
    const auto bits = std::bit_cast<std::uint32_t>(value) + (1U << (kDropped - 1));
    return std::bit_cast<float>(bits >> kDropped << kDropped);
}

/// op(operand), its columns without gaps.
std::vector<float> read(const Operand& operand, cublasOperation_t op, bool rounds_to_tf32) {
    std::vector<float> values = widen(operand);
    if (rounds_to_tf32) std::ranges::transform(values, values.begin(), to_tf32);
    return op == CUBLAS_OP_N ? values : transposed(values, operand.rows, operand.cols);
}

}  // namespace

void compute(const Product& product) {
    const auto m = std::size_t(product.m);
    const auto k = std::size_t(product.k);
    if (product.m == 0 || product.n == 0) return;
    const std::vector<float> a_mk = read(product.a, product.op_a, product.rounds_to_tf32);
    const std::vector<float> b_kn = read(product.b, product.op_b, product.rounds_to_tf32);
    std::vector<float> c_mn(m * std::size_t(product.n));
    if (product.beta != 0.0F) c_mn = widen(product.c);
    std::vector<float> sums(m);
    for (std::size_t col = 0; col < std::size_t(product.n); ++col) {
        sums.assign(m, 0.0F);
        for (std::size_t i = 0; i < k; ++i) {
            const float factor = b_kn[col * k + i];
            for (std::size_t row = 0; row < m; ++row)
                sums[row] = std::fma(a_mk[i * m + row], factor, sums[row]);
        }
        for (std::size_t row = 0; row < m; ++row) {
            float& c = c_mn[col * m + row];
            c = product.alpha * sums[row] + (product.beta != 0.0F ? product.beta * c : 0.0F);
        }
    }
    store(c_mn, product.c);
}

}  // namespace sy::emulation
