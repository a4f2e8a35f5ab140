// One instruction each of those that tests/cuda_on_cpu/sass_opcodes counts.
extern "C" __global__ void wide(const float4* in, float4* out) {
    out[threadIdx.x] = in[threadIdx.x];
}

extern "C" __global__ void narrow(const float* in, float* out) {
    out[threadIdx.x] = in[threadIdx.x];
}

extern "C" __global__ void two_words(const float2* in, float2* out) {
    out[threadIdx.x] = in[threadIdx.x];
}

// Local memory: an array that is indexed at run time.
extern "C" __global__ void local_memory(const int* in, int* out, int size) {
    int values[64];
    for (int i = 0; i < size; ++i) values[in[i] & 63] = i;
    for (int i = 0; i < size; ++i) out[i] = values[in[i + size] & 63];
}

extern "C" __global__ void exchange(int* out) {
    __shared__ int values[32];
    values[threadIdx.x] = __shfl_xor_sync(0xffffffffu, out[threadIdx.x], 1);
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x ^ 3];
}
