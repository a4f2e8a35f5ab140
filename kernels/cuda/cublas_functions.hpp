#pragma once

#include <cublas_v2.h>

#include <string>

#include "kernels/core/types.hpp"

namespace sy::cuda {

/// The functions of cuBLAS that are in use, with NVIDIA's own types, and where they come from.
struct CublasFunctions {
    decltype(&cublasCreate_v2) create = nullptr;
    decltype(&cublasDestroy_v2) destroy = nullptr;
    decltype(&cublasGetVersion_v2) get_version = nullptr;
    decltype(&cublasSetStream_v2) set_stream = nullptr;
    decltype(&cublasSetWorkspace_v2) set_workspace = nullptr;
    decltype(&cublasGetStatusString) get_status_string = nullptr;
    decltype(&cublasGemmEx_64) gemm = nullptr;
    decltype(&cublasGemmGroupedBatchedEx_64) gemm_group = nullptr;
    /// The file of the library; empty: there is none, for the reason in `missing`.
    std::string place;
    std::string missing;
    /// Device memory for each stream; more of it lets the library pick more of its kernels.
    index_t workspace_bytes = 0;
};

/// Looks for the library.
/// @throws CudaError when one is there that lacks a function
CublasFunctions load_cublas_functions();

}  // namespace sy::cuda
