// The library of cuBLAS is opened where it is found, so that the module of CUDA serves without it.
#include "kernels/cuda/cublas_functions.hpp"
#include "kernels/cuda/library_functions.hpp"

namespace sy::cuda {
namespace {

/// What NVIDIA recommends for GPUs of compute capability 9.0; smaller ones are content with less.
constexpr index_t kWorkspaceBytes = index_t{32} << 20;

}  // namespace

CublasFunctions load_cublas_functions() {
    CublasFunctions found;
    const OpenLibrary library("cuBLAS", concat("libcublas.so.", CUBLAS_VER_MAJOR),
                              "it is older than 12.5: put a newer one on LD_LIBRARY_PATH");
    found.missing = library.missing();
    if (!found.missing.empty()) return found;
    library.look_up("cublasCreate_v2", found.create);
    library.look_up("cublasDestroy_v2", found.destroy);
    library.look_up("cublasGetVersion_v2", found.get_version);
    library.look_up("cublasSetStream_v2", found.set_stream);
    library.look_up("cublasSetWorkspace_v2", found.set_workspace);
    library.look_up("cublasGetStatusString", found.get_status_string);
    library.look_up("cublasGemmEx_64", found.gemm);
    library.look_up("cublasGemmGroupedBatchedEx_64", found.gemm_group);
    found.place = library.place_of(found.create);
    found.workspace_bytes = kWorkspaceBytes;
    return found;
}

}  // namespace sy::cuda
