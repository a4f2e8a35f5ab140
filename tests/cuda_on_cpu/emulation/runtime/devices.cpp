#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/limits.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

namespace sy::emulation {
namespace {

struct State {
    cudaError_t sticky = cudaSuccess;
    cudaError_t last = cudaSuccess;
    std::string report;
};

State& state() {
    static State value;
    return value;
}

using Guard = std::lock_guard<std::recursive_mutex>;

/// Devices share their memory. Streams and events know theirs.
thread_local int device_of_thread = 0;

int driver_version() {
    if (!options().has_driver) return 0;
    return options().driver_version == 0 ? CUDART_VERSION : options().driver_version;
}

cudaError_t check_machine() {
    if (driver_version() < CUDART_VERSION) return cudaErrorInsufficientDriver;
    return options().num_devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t check_device(int device) {
    const cudaError_t error = check_machine();
    if (error != cudaSuccess) return error;
    return device >= 0 && device < options().num_devices ? cudaSuccess : cudaErrorInvalidDevice;
}

int attribute_of(cudaDeviceAttr attribute) {
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount:
            return int(kNumMultiprocessors);
        case cudaDevAttrMaxThreadsPerBlock:
            return int(kMaxThreadsPerBlock);
        case cudaDevAttrMaxThreadsPerMultiProcessor:
            return int(kMaxThreadsPerMultiprocessor);
        case cudaDevAttrMaxSharedMemoryPerBlock:
            return 48 * 1024;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            return int(kSharedLimitBytes);
        case cudaDevAttrClockRate:
            return 1'000'000;  // kilohertz
        case cudaDevAttrWarpSize:
            return int(kWarpSize);
        case cudaDevAttrComputeCapabilityMajor:
            return 9;
        case cudaDevAttrComputeCapabilityMinor:
            return 0;
        case cudaDevAttrCooperativeLaunch:
            return 1;
        case cudaDevAttrMemoryPoolsSupported:
            return 1;
        default:
            return 0;
    }
}

}  // namespace

std::recursive_mutex& runtime_mutex() {
    static std::recursive_mutex mutex;
    return mutex;
}

int current_device() {
    return device_of_thread;
}

Counters& counters() {
    static Counters value;
    return value;
}

void report(const std::string& text) {
    std::fprintf(stderr, "CUDA emulation: %s\n", text.c_str());
    state().report = text;
}

const std::string& last_report() {
    return state().report;
}

void break_device(cudaError_t error) {
    if (state().sticky == cudaSuccess) state().sticky = error;
    state().last = state().sticky;
}

void recover() {
    const Guard guard(runtime_mutex());
    drop_all_work();
    drop_captures();
    state() = {};
}

cudaError_t remember(cudaError_t error) {
    if (error != cudaSuccess) state().last = error;
    return error;
}

cudaError_t sticky_error() {
    return state().sticky;
}

}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cudaError_t cudaGetLastError() {
    const Guard guard(runtime_mutex());
    const cudaError_t error = state().last;
    state().last = state().sticky;
    return error;
}

cudaError_t cudaPeekAtLastError() {
    const Guard guard(runtime_mutex());
    return state().last;
}

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorInvalidValue:
            return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation:
            return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidConfiguration:
            return "cudaErrorInvalidConfiguration";
        case cudaErrorInvalidPitchValue:
            return "cudaErrorInvalidPitchValue";
        case cudaErrorInsufficientDriver:
            return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice:
            return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice:
            return "cudaErrorInvalidDevice";
        case cudaErrorECCUncorrectable:
            return "cudaErrorECCUncorrectable";
        case cudaErrorInvalidResourceHandle:
            return "cudaErrorInvalidResourceHandle";
        case cudaErrorNotReady:
            return "cudaErrorNotReady";
        case cudaErrorIllegalAddress:
            return "cudaErrorIllegalAddress";
        case cudaErrorLaunchTimeout:
            return "cudaErrorLaunchTimeout";
        case cudaErrorLaunchFailure:
            return "cudaErrorLaunchFailure";
        case cudaErrorCooperativeLaunchTooLarge:
            return "cudaErrorCooperativeLaunchTooLarge";
        case cudaErrorStreamCaptureUnsupported:
            return "cudaErrorStreamCaptureUnsupported";
        case cudaErrorStreamCaptureInvalidated:
            return "cudaErrorStreamCaptureInvalidated";
        case cudaErrorStreamCaptureMerge:
            return "cudaErrorStreamCaptureMerge";
        case cudaErrorStreamCaptureUnmatched:
            return "cudaErrorStreamCaptureUnmatched";
        case cudaErrorStreamCaptureUnjoined:
            return "cudaErrorStreamCaptureUnjoined";
        case cudaErrorStreamCaptureIsolation:
            return "cudaErrorStreamCaptureIsolation";
        case cudaErrorStreamCaptureImplicit:
            return "cudaErrorStreamCaptureImplicit";
        case cudaErrorStreamCaptureWrongThread:
            return "cudaErrorStreamCaptureWrongThread";
        case cudaErrorCapturedEvent:
            return "cudaErrorCapturedEvent";
        case cudaErrorIllegalState:
            return "cudaErrorIllegalState";
        case cudaErrorHostMemoryAlreadyRegistered:
            return "cudaErrorHostMemoryAlreadyRegistered";
        case cudaErrorHostMemoryNotRegistered:
            return "cudaErrorHostMemoryNotRegistered";
        default:
            return "cudaErrorUnknown";
    }
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return "no error";
        case cudaErrorInvalidValue:
            return "invalid argument";
        case cudaErrorMemoryAllocation:
            return "out of memory";
        case cudaErrorInvalidConfiguration:
            return "invalid configuration argument";
        case cudaErrorInsufficientDriver:
            return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice:
            return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice:
            return "invalid device ordinal";
        case cudaErrorECCUncorrectable:
            return "uncorrectable ECC error encountered";
        case cudaErrorInvalidResourceHandle:
            return "invalid resource handle";
        case cudaErrorNotReady:
            return "device not ready";
        case cudaErrorIllegalAddress:
            return "an illegal memory access was encountered";
        case cudaErrorLaunchTimeout:
            return "the launch timed out and was terminated";
        case cudaErrorLaunchFailure:
            return "unspecified launch failure";
        default:
            return cudaGetErrorName(error);
    }
}

cudaError_t cudaGetDeviceCount(int* count) {
    const cudaError_t error = check_machine();
    if (error == cudaSuccess) *count = options().num_devices;
    return remember(error);
}

cudaError_t cudaSetDevice(int device) {
    const cudaError_t error = check_device(device);
    if (error == cudaSuccess) device_of_thread = device;
    return remember(error);
}

cudaError_t cudaGetDevice(int* device) {
    *device = device_of_thread;
    return remember(check_machine());
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    *value = attribute_of(attribute);
    return remember(check_device(device));
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "CUDA emulation on the CPU");
    properties->totalGlobalMem = options().memory_bytes;
    // Processes see the same devices.
    properties->uuid.bytes[0] = char(device);
    properties->sharedMemPerBlock = 48 * 1024;
    properties->sharedMemPerBlockOptin = kSharedLimitBytes;
    properties->warpSize = int(kWarpSize);
    properties->maxThreadsPerBlock = int(kMaxThreadsPerBlock);
    properties->maxThreadsPerMultiProcessor = int(kMaxThreadsPerMultiprocessor);
    properties->multiProcessorCount = int(kNumMultiprocessors);
    properties->major = 9;
    properties->minor = 0;
    return remember(check_device(device));
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = driver_version();
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return remember(check_machine());
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
    *can = device != peer ? 1 : 0;
    return remember(check_device(device) != cudaSuccess ? check_device(device) : check_device(peer));
}

}  // extern "C"
