// What cuDNN and its copy of the CUDA runtime look up in the stand-in driver beside what stand_in_driver.cpp has: it has to be
// there, and refuses whatever it is asked for. Without cuda.h, so that one signature will do for all.
#define SY_REFUSE(name)                          \
    extern "C" int name() {                      \
        return 34; /* CUDA_ERROR_STUB_LIBRARY */ \
    }

SY_REFUSE(cuCtxGetCurrent)
SY_REFUSE(cuCtxGetDevice)
SY_REFUSE(cuCtxGetLimit)
SY_REFUSE(cuCtxPopCurrent)
SY_REFUSE(cuCtxPushCurrent)
SY_REFUSE(cuDeviceGet)
SY_REFUSE(cuDevicePrimaryCtxRelease)
SY_REFUSE(cuDevicePrimaryCtxRetain)
SY_REFUSE(cuGetErrorName)
SY_REFUSE(cuGetErrorString)
SY_REFUSE(cuGetExportTable)
SY_REFUSE(cuGetProcAddress)
SY_REFUSE(cuGetProcAddress_v2)
SY_REFUSE(cuLaunchCooperativeKernel)
SY_REFUSE(cuLaunchKernel)
SY_REFUSE(cuLaunchKernelEx)
SY_REFUSE(cuLibraryLoadFromFile)
SY_REFUSE(cuLinkAddData)
SY_REFUSE(cuLinkComplete)
SY_REFUSE(cuLinkCreate)
SY_REFUSE(cuLinkDestroy)
SY_REFUSE(cuModuleGetLoadingMode)
SY_REFUSE(cuOccupancyMaxPotentialClusterSize)
SY_REFUSE(cuStreamGetCtx)
SY_REFUSE(cuTensorMapEncodeIm2col)
SY_REFUSE(cuTensorMapEncodeTiled)
