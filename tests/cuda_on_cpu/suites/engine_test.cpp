#include <bit>
#include <numeric>
#include <random>

#include "tests/cuda_on_cpu/suites/support.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

constexpr unsigned kAll = 0xffffffffU;

/// Every order in which threads may run, and several seeds of the drawn one.
template <typename Body>
void in_every_order(Body body) {
    const Machine machine;
    for (const Order order : {Order::fifo, Order::reverse, Order::random}) {
        const int num_seeds = order == Order::random ? 5 : 1;
        for (int seed = 0; seed < num_seeds; ++seed) {
            for (const std::size_t num_resident : {1UL, 3UL}) {
                options().order = order;
                options().seed = std::uint64_t(seed);
                options().num_resident = num_resident;
                reseed();
                CAPTURE(int(order), seed, num_resident);
                body();
            }
        }
    }
}

void reverse_of_block(int* out) {
    SY_SHARED(values, int[128]);
    const int thread = int(threadIdx.x);
    values[thread] = int(blockIdx.x) * 128 + thread;
    __syncthreads();
    out[blockIdx.x * 128 + threadIdx.x] = values[127 - thread];
}

void exchange_in_warp(int* out, unsigned* votes) {
    const int lane = int(threadIdx.x) % 32;
    int sum = lane;
    for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(kAll, sum, by);
    int prefix = lane;
    for (int by = 1; by < 32; by *= 2) {
        const int before = __shfl_up_sync(kAll, prefix, unsigned(by));
        if (lane >= by) prefix += before;
    }
    const int next = __shfl_down_sync(kAll, lane, 1, 8);
    const int first = __shfl_sync(kAll, lane, 0, 8);
    int* own = out + threadIdx.x * 4;
    own[0] = sum;
    own[1] = prefix;
    own[2] = next;
    own[3] = first;
    votes[threadIdx.x * 3] = __ballot_sync(kAll, lane % 3 == 0);
    votes[threadIdx.x * 3 + 1] = __match_any_sync(kAll, lane / 4);
    votes[threadIdx.x * 3 + 2] = __reduce_max_sync(kAll, unsigned(lane) * 7 % 31);
}

void halves_of_a_warp(int* out) {
    const int lane = int(threadIdx.x);
    const unsigned half = lane < 16 ? 0xffffU : 0xffff0000U;
    int value = lane;
    // The halves make different numbers of exchanges, each by itself.
    for (int i = 0; i < (lane < 16 ? 1 : 3); ++i) value = __shfl_xor_sync(half, value, 1);
    __syncwarp();
    out[lane] = value;
}

void count_of_block(int* out) {
    const int odd = __syncthreads_count(threadIdx.x % 2 == 1);
    const int any = __syncthreads_or(threadIdx.x == 77);
    const int all = __syncthreads_and(threadIdx.x != 77);
    if (threadIdx.x == 0) {
        out[0] = odd;
        out[1] = any;
        out[2] = all;
    }
}

void histogram(const int* values, int size, int* counts) {
    SY_DYNAMIC_SHARED(local, int);
    for (unsigned i = threadIdx.x; i < 16; i += blockDim.x) local[i] = 0;
    __syncthreads();
    const int step = int(gridDim.x * blockDim.x);
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < size; i += step)
        atomicAdd(&local[values[i]], 1);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 16; i += blockDim.x) atomicAdd(&counts[i], local[i]);
}

void number_threads(unsigned* out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] = block * threads + thread;
}

void fused_flag(int* flag, int* out) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) atomicExch(flag, 1);
    } else {
        while (atomicAdd(flag, 0) != 1) __nanosleep(100);
        out[threadIdx.x] = 5;
    }
}

}  // namespace

TEST_CASE("cuda_on_cpu: a barrier lets every thread see what the others wrote, in every order", "[unit]") {
    in_every_order([] {
        const DeviceArray<int> out(5 * 128);
        REQUIRE(run(dim3(5), dim3(128), reverse_of_block, out.get()) == cudaSuccess);
        const auto values = out.to_host();
        for (int i = 0; i < 5 * 128; ++i) REQUIRE(values[std::size_t(i)] == i / 128 * 128 + 127 - i % 128);
    });
}

TEST_CASE("cuda_on_cpu: shuffles, votes, matches and reductions are those of a warp", "[unit]") {
    in_every_order([] {
        const DeviceArray<int> out(64 * 4);
        const DeviceArray<unsigned> votes(64 * 3);
        REQUIRE(run(dim3(1), dim3(64), exchange_in_warp, out.get(), votes.get()) == cudaSuccess);
        const auto values = out.to_host();
        const auto bits = votes.to_host();
        for (std::size_t thread = 0; thread < 64; ++thread) {
            const int lane = int(thread) % 32;
            REQUIRE(values[thread * 4] == 31 * 32 / 2);
            REQUIRE(values[thread * 4 + 1] == lane * (lane + 1) / 2);
            REQUIRE(values[thread * 4 + 2] == (lane % 8 == 7 ? lane : lane + 1));
            REQUIRE(values[thread * 4 + 3] == lane / 8 * 8);
            REQUIRE(bits[thread * 3] == 0x49249249U);
            REQUIRE(bits[thread * 3 + 1] == 0xfU << (lane / 4 * 4));
            REQUIRE(bits[thread * 3 + 2] == 30);
        }
    });
}

TEST_CASE("cuda_on_cpu: parts of a warp exchange by themselves", "[unit]") {
    in_every_order([] {
        const DeviceArray<int> out(32);
        REQUIRE(run(dim3(1), dim3(32), halves_of_a_warp, out.get()) == cudaSuccess);
        const auto values = out.to_host();
        for (int lane = 0; lane < 32; ++lane) REQUIRE(values[std::size_t(lane)] == (lane ^ 1));
    });
}

TEST_CASE("cuda_on_cpu: a barrier counts and combines predicates", "[unit]") {
    in_every_order([] {
        const DeviceArray<int> out(3);
        REQUIRE(run(dim3(1), dim3(96), count_of_block, out.get()) == cudaSuccess);
        REQUIRE(out.to_host() == std::vector<int>{48, 1, 0});
    });
}

TEST_CASE("cuda_on_cpu: atomic operations of blocks that run interleaved lose nothing", "[unit]") {
    std::vector<int> numbers(1000);
    std::vector<int> expected(16);
    std::mt19937 generator(3);
    for (int& number : numbers) ++expected[std::size_t(number = int(generator() % 16))];
    in_every_order([&] {
        const DeviceArray<int> values(numbers);
        const DeviceArray<int> counts(std::vector<int>(16, 0));
        const Stream stream;
        cudaLaunchConfig_t config{};
        config.gridDim = dim3(4);
        config.blockDim = dim3(64);
        config.dynamicSmemBytes = 16 * sizeof(int);
        config.stream = stream;
        REQUIRE(cudaLaunchKernelEx(&config, histogram, values.get(), 1000, counts.get()) == cudaSuccess);
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        REQUIRE(counts.to_host() == expected);
    });
}

TEST_CASE("cuda_on_cpu: every thread of a grid of three dimensions runs once", "[unit]") {
    in_every_order([] {
        const std::size_t size = 3 * 4 * 5 * 2 * 8 * 3;
        const DeviceArray<unsigned> out(size);
        REQUIRE(run(dim3(3, 4, 5), dim3(8, 2, 3), number_threads, out.get()) == cudaSuccess);
        std::vector<unsigned> expected(size);
        std::iota(expected.begin(), expected.end(), 0U);
        REQUIRE(out.to_host() == expected);
    });
}

TEST_CASE("cuda_on_cpu: a spin-wait between resident blocks ends", "[unit]") {
    const Machine machine;
    options().num_resident = 2;
    options().order = Order::reverse;  // the block that waits runs first
    const DeviceArray<int> flag(std::vector<int>{0});
    const DeviceArray<int> out(32);
    REQUIRE(run(dim3(2), dim3(32), fused_flag, flag.get(), out.get()) == cudaSuccess);
    REQUIRE(out.to_host() == std::vector<int>(32, 5));
}
