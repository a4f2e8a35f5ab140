// A driver's library for a machine without a GPU, which cuDNN opens as libcuda.so.1 when it builds a plan: it accepts code,
// and answers that there is no GPU. Nothing can run with it.
#include <cuda.h>

namespace {

/// What handles point to that are asked for; nothing reads it.
int code;

template <class Handle>
CUresult give(Handle* handle) {
    *handle = reinterpret_cast<Handle>(&code);
    return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned int) {
    return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int* version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int* count) {
    *count = 0;
    return CUDA_SUCCESS;
}
CUresult cuModuleLoadData(CUmodule* module, const void*) {
    return give(module);
}
CUresult cuModuleLoadDataEx(CUmodule* module, const void*, unsigned int, CUjit_option*, void**) {
    return give(module);
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char*) {
    return give(function);
}
CUresult cuModuleUnload(CUmodule) {
    return CUDA_SUCCESS;
}
CUresult cuLibraryLoadData(CUlibrary* library, const void*, CUjit_option*, void**, unsigned int,
                           CUlibraryOption*, void**, unsigned int) {
    return give(library);
}
CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary, const char*) {
    return give(kernel);
}
CUresult cuLibraryUnload(CUlibrary) {
    return CUDA_SUCCESS;
}
CUresult cuKernelGetFunction(CUfunction* function, CUkernel) {
    return give(function);
}
CUresult cuKernelGetAttribute(int* value, CUfunction_attribute, CUkernel, CUdevice) {
    *value = 0;
    return CUDA_SUCCESS;
}
CUresult cuKernelSetAttribute(CUfunction_attribute, int, CUkernel, CUdevice) {
    return CUDA_SUCCESS;
}
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) {
    *value = 0;
    return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) {
    return CUDA_SUCCESS;
}
}
