#pragma once

#include <cmath>

#include "kernels/core/philox_lanes.hpp"

/// Which elements a dropout keeps, shared by the operations that drop something: element e of a stream is dropped when
/// uniform(key, e) < probability, and what is kept grows by 1 / (1 - probability).
namespace sy::ops::detail {

struct KeepRule {
    std::uint32_t threshold;  ///< dropped below, of the 23 bits that `uniform` uses
    float factor;             ///< of what is kept
};

/// uniform = (bits + 1/2) / 2^23, exactly, so the comparison can be made of integers.
inline KeepRule keep_rule(float probability) {
    const double cells = static_cast<double>(probability) * 0x1p23;
    return {static_cast<std::uint32_t>(std::ceil(std::fmax(cells - 0.5, 0.0))), 1.0F / (1.0F - probability)};
}

/// 0 or rule.factor, from the word of an element.
SY_INLINE float keep_factor(const KeepRule& rule, std::uint32_t word) {
    return static_cast<std::int32_t>(word >> 9) < static_cast<std::int32_t>(rule.threshold) ? 0.0F
                                                                                            : rule.factor;
}

}  // namespace sy::ops::detail
