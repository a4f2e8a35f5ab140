#pragma once

#include <math.h>

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>

// Arithmetic of the device that the host's libraries lack, under its CUDA names. The fast functions are here as exact as
// the host's: their last bits differ on a device.

inline int __popc(unsigned value) {
    return std::popcount(value);
}
inline int __popcll(unsigned long long value) {
    return std::popcount(value);
}
inline int __ffs(int value) {
    return __builtin_ffs(value);
}
inline int __ffsll(long long value) {
    return __builtin_ffsll(value);
}
inline int __clz(int value) {
    return std::countl_zero(unsigned(value));
}
inline int __clzll(long long value) {
    return std::countl_zero(static_cast<unsigned long long>(value));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned(std::uint64_t(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<unsigned long long>(Wide(a) * b >> 64);
}

inline unsigned __float_as_uint(float value) {
    return std::bit_cast<unsigned>(value);
}
inline int __float_as_int(float value) {
    return std::bit_cast<int>(value);
}
inline float __uint_as_float(unsigned value) {
    return std::bit_cast<float>(value);
}
inline float __int_as_float(int value) {
    return std::bit_cast<float>(value);
}
inline long long __double_as_longlong(double value) {
    return std::bit_cast<long long>(value);
}
inline double __longlong_as_double(long long value) {
    return std::bit_cast<double>(value);
}

inline float rsqrtf(float value) {
    return 1.0F / std::sqrt(value);
}
inline double rsqrt(double value) {
    return 1.0 / std::sqrt(value);
}
inline float __expf(float value) {
    return std::exp(value);
}
inline float __exp2f(float value) {
    return std::exp2(value);
}
inline float __logf(float value) {
    return std::log(value);
}
inline float __log2f(float value) {
    return std::log2(value);
}
inline float __powf(float base, float exponent) {
    return std::pow(base, exponent);
}
inline float __sinf(float value) {
    return std::sin(value);
}
inline float __cosf(float value) {
    return std::cos(value);
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __frcp_rn(float value) {
    return 1.0F / value;
}
inline float __fsqrt_rn(float value) {
    return std::sqrt(value);
}
inline float __frsqrt_rn(float value) {
    return float(1.0 / std::sqrt(double(value)));
}
// Never contracted into a fused multiply-add, as here without -ffp-contract.
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
    return std::fma(a, b, c);
}
inline double __dadd_rn(double a, double b) {
    return a + b;
}
inline double __dmul_rn(double a, double b) {
    return a * b;
}
inline float __saturatef(float value) {
    return value > 0.0F ? (value < 1.0F ? value : 1.0F) : 0.0F;  // NaN becomes 0, as on the device
}

// Conversions of the device clamp to the range of the result, and turn NaN into 0; the host's are undefined there.
inline int __float2int_rn(float value) {
    if (value != value) return 0;
    const double rounded = std::nearbyint(double(value));
    return int(rounded < -0x1p31 ? -0x1p31 : rounded > 0x1p31 - 1 ? 0x1p31 - 1 : rounded);
}
inline long long __float2ll_rn(float value) {
    if (value != value) return 0;
    if (value >= 0x1p63F) return INT64_MAX;
    if (value <= -0x1p63F) return INT64_MIN;
    return static_cast<long long>(std::nearbyint(value));
}
inline long long __double2ll_rn(double value) {
    if (value != value) return 0;
    if (value >= 0x1p63) return INT64_MAX;
    if (value <= -0x1p63) return INT64_MIN;
    return static_cast<long long>(std::nearbyint(value));
}
inline double __ll2double_rn(long long value) {
    return double(value);
}
inline float __ll2float_rn(long long value) {
    return float(value);
}
inline float __int2float_rn(int value) {
    return float(value);
}
inline float __uint2float_rn(unsigned value) {
    return float(value);
}
inline float __double2float_rn(double value) {
    return float(value);
}

#define SY_MIN_AND_MAX(T)              \
    inline constexpr T min(T a, T b) { \
        return b < a ? b : a;          \
    }                                  \
    inline constexpr T max(T a, T b) { \
        return a < b ? b : a;          \
    }
SY_MIN_AND_MAX(int)
SY_MIN_AND_MAX(unsigned)
SY_MIN_AND_MAX(long)
SY_MIN_AND_MAX(unsigned long)
SY_MIN_AND_MAX(long long)
SY_MIN_AND_MAX(unsigned long long)
#undef SY_MIN_AND_MAX
inline float min(float a, float b) {
    return std::fmin(a, b);
}
inline float max(float a, float b) {
    return std::fmax(a, b);
}
inline double min(double a, double b) {
    return std::fmin(a, b);
}
inline double max(double a, double b) {
    return std::fmax(a, b);
}
