#include "tests/cuda_on_cpu/suites/planted_faults.hpp"

#include <cuda_runtime.h>

#include "tests/cuda_on_cpu/suites/kernel_memory.hpp"

// Each kernel with `faulty` 0 is right, and with 1 has the fault that its name says.
namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void missing_barrier(float* out, int size, int faulty) {
    SY_SHARED(values, float[256]);
    const int thread = int(threadIdx.x);
    const int i = int(blockIdx.x) * 256 + thread;
    values[thread] = float(i);
    if (faulty == 0) __syncthreads();
    if (i < size) out[i] = values[255 - thread];
}

__global__ void divergent_barrier(float* out, int size, int faulty) {
    if (faulty == 0 || threadIdx.x < 100) {
        __syncthreads();
    } else {
        __syncthreads();  // another barrier, for the threads that wait above
    }
    if (int(threadIdx.x) < size) out[threadIdx.x] = 1.0f;
}

__global__ void wrong_mask(float* out, int size, int faulty) {
    float value = float(threadIdx.x);
    if (faulty == 0 || threadIdx.x % 32 < 16) value = __shfl_xor_sync(kAll, value, 1);
    if (int(threadIdx.x) < size) out[threadIdx.x] = value;
}

__global__ void global_overrun(float* out, int size, int faulty) {
    if (int(threadIdx.x) < size + faulty) out[threadIdx.x] = 1.0f;
}

__global__ void shared_overrun(float* out, int size, int faulty) {
    SY_SHARED(values, float[64]);
    for (int i = int(threadIdx.x); i < 64 + faulty; i += int(blockDim.x)) values[i] = 1.0f;
    __syncthreads();
    if (int(threadIdx.x) < size) out[threadIdx.x] = values[threadIdx.x % 64];
}

__global__ void misaligned_access(float* out, int size, int faulty) {
    float4* quads = reinterpret_cast<float4*>(out + faulty);
    if (int(threadIdx.x) < size / 4 - 1) quads[threadIdx.x] = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
}

__global__ void race_between_blocks(float* out, int, int faulty) {
    if (threadIdx.x != blockIdx.x % 32) return;
    if (faulty == 0) {
        atomicAdd(&out[0], 1.0f);
    } else {
        out[0] = out[0] + 1.0f;
    }
}

__global__ void unwritten_shared(float* out, int size, int faulty) {
    SY_SHARED(values, float[256]);
    if (int(threadIdx.x) >= faulty) values[threadIdx.x] = 1.0f;
    __syncthreads();
    if (int(threadIdx.x) < size) out[threadIdx.x] = values[threadIdx.x];
}

__global__ void fill(float* out, int size, float value) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < size) out[i] = value;
}

__global__ void add_one(const float* in, float* out, int size) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < size) out[i] = in[i] + 1.0f;
}

__global__ void add_one_of_view(View in, float* out) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < in.size) out[i] = in.first[i] + 1.0f;
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(const Shape& shape, cudaStream_t stream, void (*kernel)(Parameters...),
                   Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(shape.num_blocks);
    config.blockDim = dim3(shape.num_threads);
    config.dynamicSmemBytes = shape.dynamic_bytes;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace

cudaError_t launch_faulty(const std::string& name, const Shape& shape, cudaStream_t stream, float* out,
                          int size, int faulty) {
    if (name == "missing_barrier") return launch(shape, stream, missing_barrier, out, size, faulty);
    if (name == "divergent_barrier") return launch(shape, stream, divergent_barrier, out, size, faulty);
    if (name == "wrong_mask") return launch(shape, stream, wrong_mask, out, size, faulty);
    if (name == "global_overrun") return launch(shape, stream, global_overrun, out, size, faulty);
    if (name == "shared_overrun") return launch(shape, stream, shared_overrun, out, size, faulty);
    if (name == "misaligned_access") return launch(shape, stream, misaligned_access, out, size, faulty);
    if (name == "race_between_blocks") return launch(shape, stream, race_between_blocks, out, size, faulty);
    if (name == "unwritten_shared") return launch(shape, stream, unwritten_shared, out, size, faulty);
    return cudaErrorInvalidDeviceFunction;
}

cudaError_t launch_fill(const Shape& shape, cudaStream_t stream, float* out, int size, float value) {
    return launch(shape, stream, fill, out, size, value);
}

cudaError_t launch_add_one(const Shape& shape, cudaStream_t stream, const float* in, float* out, int size) {
    return launch(shape, stream, add_one, in, out, size);
}

cudaError_t launch_add_one_of_view(const Shape& shape, cudaStream_t stream, View in, float* out) {
    return launch(shape, stream, add_one_of_view, in, out);
}
