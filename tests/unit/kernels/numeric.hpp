#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "tests/support/session.hpp"

namespace sy::test {

inline std::vector<double> widened(std::span<const float> values) {
    return {values.begin(), values.end()};
}

/// Central differences of `loss`, which must compute in double.
inline std::vector<double> numeric_gradient(std::vector<double> at,
                                            const std::function<double(const std::vector<double>&)>& loss,
                                            double step = 1e-5) {
    std::vector<double> gradient(at.size());
    for (std::size_t i = 0; i < at.size(); ++i) {
        const double middle = at[i];
        at[i] = middle + step;
        const double above = loss(at);
        at[i] = middle - step;
        const double below = loss(at);
        at[i] = middle;
        gradient[i] = (above - below) / (2.0 * step);
    }
    return gradient;
}

/// Largest |a - b| divided by the largest |b|; infinite for a NaN, for different lengths and when all b are 0.
inline double relative_error(std::span<const float> a, std::span<const double> b) {
    if (a.size() != b.size()) return HUGE_VAL;
    double difference = 0.0;
    double scale = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (!std::isfinite(a[i])) return HUGE_VAL;
        difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - b[i]));
        scale = std::max(scale, std::fabs(b[i]));
    }
    return scale > 0.0 ? difference / scale : HUGE_VAL;
}

/// Equal to the last bit: NaN equals itself, 0 differs from -0.
template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return same_bits(std::span<const float>(a), std::span<const float>(b));
}

}  // namespace sy::test
