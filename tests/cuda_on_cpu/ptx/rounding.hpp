#pragma once

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tests/cuda_on_cpu/emulation/device/bits.hpp"
#include "tests/cuda_on_cpu/ptx/module.hpp"

namespace sy::emulation::ptx {

/// While one lives, the processor rounds that way. What is computed in it goes through volatile variables, which compilers
/// do not move out.
class RoundingScope {
  public:
    explicit RoundingScope(Rounding rounding) : before_(std::fegetround()) {
        constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
        std::fesetround(kModes[std::size_t(rounding)]);
    }
    RoundingScope(const RoundingScope&) = delete;
    RoundingScope& operator=(const RoundingScope&) = delete;
    ~RoundingScope() { std::fesetround(before_); }

  private:
    int before_;
};

template <typename T>
T flushed(T value) {
    return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(T(0), value) : value;
}

/// The one NaN that instructions of float give.
template <typename T>
T with_one_nan(T value) {
    if constexpr (std::is_same_v<T, float>) {
        if (value != value) return from_bits<float>(0x7fffffffU);
    }
    return value;
}

/// Into [0, 1]; NaN becomes 0.
template <typename T>
T saturated(T value) {
    return value > T(0) ? (value < T(1) ? value : T(1)) : T(0);
}

/// To a whole number.
inline double rounded(double value, Rounding rounding) {
    switch (rounding) {
        case Rounding::zero:
            return std::trunc(value);
        case Rounding::down:
            return std::floor(value);
        case Rounding::up:
            return std::ceil(value);
        case Rounding::nearest:
            break;
    }
    return std::nearbyint(value);
}

}  // namespace sy::emulation::ptx
