// The library of cuBLAS is opened where it is found, so that the module of CUDA serves without it.
#include <dlfcn.h>

#include "kernels/cuda/cublas_functions.hpp"
#include "kernels/cuda/error.hpp"

namespace sy::cuda {
namespace {

/// What NVIDIA recommends for GPUs of compute capability 9.0; smaller ones are content with less.
constexpr index_t kWorkspaceBytes = index_t{32} << 20;

template <class Function>
void look_up(void* library, const std::string& name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name.c_str()));
    if (function == nullptr)
        throw CudaError(concat("cuda: the cuBLAS that was found has no ", name,
                               "; it is older than 12.5: put a newer one on LD_LIBRARY_PATH"));
}

}  // namespace

CublasFunctions load_cublas_functions() {
    CublasFunctions found;
    const std::string file = concat("libcublas.so.", CUBLAS_VER_MAJOR);
    // Never closed: what it has queued on a GPU may still run.
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        found.missing = dlerror();  // NOLINT(concurrency-mt-unsafe): of this thread
        return found;
    }
    look_up(library, "cublasCreate_v2", found.create);
    look_up(library, "cublasDestroy_v2", found.destroy);
    look_up(library, "cublasGetVersion_v2", found.get_version);
    look_up(library, "cublasSetStream_v2", found.set_stream);
    look_up(library, "cublasSetWorkspace_v2", found.set_workspace);
    look_up(library, "cublasGetStatusString", found.get_status_string);
    look_up(library, "cublasGemmEx_64", found.gemm);
    look_up(library, "cublasGemmGroupedBatchedEx_64", found.gemm_group);
    Dl_info info{};
    const bool is_known = dladdr(reinterpret_cast<void*>(found.create), &info) != 0;
    found.place = is_known ? info.dli_fname : file.c_str();
    found.workspace_bytes = kWorkspaceBytes;
    return found;
}

}  // namespace sy::cuda
