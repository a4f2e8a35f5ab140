#pragma once

#include <cmath>
#include <cstdint>

/// Which elements a dropout keeps: element e of a stream is dropped when uniform(key, e) < probability, and what is kept
/// grows by 1 / (1 - probability).
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

}  // namespace sy::ops::detail
