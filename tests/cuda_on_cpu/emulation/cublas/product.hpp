#pragma once

#include <cublas_v2.h>

/// Matrix products as cuBLAS defines them: column-major, bf16 or float in and out, sums in float.
namespace sy::emulation {

/// One operand in memory: `rows` by `cols` as stored, before any transposition, `stride` elements from column to column.
struct Operand {
    const void* first = nullptr;
    cudaDataType_t type = CUDA_R_32F;
    int rows = 0;
    int cols = 0;
    int stride = 0;
};

/// C = alpha * op(A) * op(B) + beta * C
struct Product {
    cublasOperation_t op_a = CUBLAS_OP_N;
    cublasOperation_t op_b = CUBLAS_OP_N;
    int m = 0;
    int n = 0;
    int k = 0;
    bool rounds_to_tf32 = false;  ///< operands in float, to 11 bits of mantissa
    float alpha = 1.0F;
    float beta = 0.0F;
    Operand a;
    Operand b;
    Operand c;
};

/// Computes it. C is not read where beta is 0: it may hold NaN.
void compute(const Product& product);

}  // namespace sy::emulation
