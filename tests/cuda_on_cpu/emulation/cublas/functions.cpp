// The stand-in as the device of CUDA finds it, instead of the library that kernels/cuda/cublas_library.cpp opens.
#include "kernels/cuda/cublas_functions.hpp"

namespace sy::cuda {

CublasFunctions load_cublas_functions() {
    CublasFunctions found;
    found.create = cublasCreate_v2;
    found.destroy = cublasDestroy_v2;
    found.get_version = cublasGetVersion_v2;
    found.set_stream = cublasSetStream_v2;
    found.set_workspace = cublasSetWorkspace_v2;
    found.get_status_string = cublasGetStatusString;
    found.gemm = cublasGemmEx_64;
    found.gemm_group = cublasGemmGroupedBatchedEx_64;
    found.place = "the emulation";
    found.workspace_bytes = 4096;
    return found;
}

}  // namespace sy::cuda
