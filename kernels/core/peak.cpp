#include "kernels/core/peak.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/core/isa.hpp"
#include "kernels/core/tile_config.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sy {
namespace {

constexpr long kRounds = 500000;
constexpr int kRepeats = 20;
constexpr int kChains = 12;

#if defined(__x86_64__)
/// @return a value that depends on all chains, so that nothing is optimised away
__attribute__((target("avx512f"))) float chains_avx512(float seed) {
    __m512 sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(seed + static_cast<float>(i));
    const __m512 factor = _mm512_set1_ps(0.999F);
    const __m512 addend = _mm512_set1_ps(1e-3F);
    for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512bf16"))) float chains_avx512_bf16(float seed) {
    __m512 sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(seed + static_cast<float>(i));
    // Powers of two, so that the sums stay finite: 2^-12 = 0x3980 and 1 = 0x3f80 as bf16.
    const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3980));
    const auto one = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));
    for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], factor, one);
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("amx-tile,amx-bf16"))) float chains_amx_bf16(float seed) {
    alignas(64) std::array<std::uint16_t, 512> operand;
    operand.fill(0x3980);
    alignas(64) std::array<float, 256> sums;
    sums.fill(seed);
    _tile_loadconfig(&kWholeTiles);
    // GCC 12 does not know that loads and stores of tiles touch memory.
    asm volatile("" ::: "memory");
    _tile_loadd(0, sums.data(), 64);
    _tile_loadd(1, sums.data(), 64);
    _tile_loadd(2, sums.data(), 64);
    _tile_loadd(3, sums.data(), 64);
    _tile_loadd(4, operand.data(), 64);
    _tile_loadd(5, operand.data(), 64);
    for (long round = 0; round < kRounds * kChains / 4; ++round) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, sums.data(), 64);
    _tile_release();
    asm volatile("" ::: "memory");
    return sums[0];
}

__attribute__((target("avx2,fma"))) float chains_avx2(float seed) {
    __m256 sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(seed + static_cast<float>(i));
    const __m256 factor = _mm256_set1_ps(0.999F);
    const __m256 addend = _mm256_set1_ps(1e-3F);
    for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_cvtss_f32(sums[0]);
}
#endif

float chains_plain(float seed) {
    float sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = seed + static_cast<float>(i);
    for (long round = 0; round < kRounds; ++round) {
        for (float& sum : sums) sum = std::fma(sum, 0.999F, 1e-3F);
    }
    float total = 0.0F;
    for (const float sum : sums) total += sum;
    return total;
}

/// Processor time of the calling thread: slices lost to other programs do not count.
double thread_seconds() {
    timespec now{};
    SY_REQUIRE(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "peak: no clock of the thread's time");
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Body {
    float (*run)(float);
    int products;  ///< multiply-adds of one instruction
};

Body choose(DType inputs) {
    SY_REQUIRE(inputs == DType::f32 || inputs == DType::bf16, "peak: no products of ", dtype_name(inputs));
#if defined(__x86_64__)
    if (inputs == DType::bf16 && isa() == Isa::amx_bf16) return {chains_amx_bf16, 16 * 16 * 32};
    if (inputs == DType::bf16 && isa() == Isa::avx512_bf16) return {chains_avx512_bf16, 32};
    if (isa() >= Isa::avx512) return {chains_avx512, 16};
    if (isa() == Isa::avx2) return {chains_avx2, 8};
#endif
    return {chains_plain, 1};
}

}  // namespace

double measure_peak_gflops(ThreadTeam& team, DType inputs) {
    const Body body = choose(inputs);
    std::vector<double> best(static_cast<std::size_t>(team.size()), 0.0);
    std::atomic<bool> finite{true};
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
        team.run([&](int thread_idx) {
            const double start = thread_seconds();
            if (!std::isfinite(body.run(static_cast<float>(thread_idx)))) finite.store(false);
            const double rate = 2.0 * kRounds * kChains * body.products / (thread_seconds() - start) / 1e9;
            double& fastest = best[static_cast<std::size_t>(thread_idx)];
            fastest = std::max(fastest, rate);
        });
    }
    SY_REQUIRE(finite.load(), "peak: the chains did not stay finite");
    return std::accumulate(best.begin(), best.end(), 0.0);
}

}  // namespace sy
