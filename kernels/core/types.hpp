#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/core/error.hpp"

namespace sy {

/// Sizes and positions everywhere: signed, 64 bit.
using index_t = std::int64_t;

/// Converts between integer types and throws if the value does not fit.
template <class To, class From>
requires std::is_integral_v<To> && std::is_integral_v<From> To narrow(From value) {
    const To converted = static_cast<To>(value);
    if (static_cast<From>(converted) != value || ((converted < To{}) != (value < From{}))) {
        throw ShapeError(concat("narrow: ", value, " does not fit a ", sizeof(To), "-byte integer"));
    }
    return converted;
}

constexpr index_t ceil_div(index_t numerator, index_t denominator) {
    return (numerator + denominator - 1) / denominator;
}

constexpr index_t round_up(index_t value, index_t multiple) {
    return ceil_div(value, multiple) * multiple;
}

/// Half-open range [begin, end).
struct Range {
    index_t begin = 0;
    index_t end = 0;
    constexpr index_t size() const { return end - begin; }
    bool operator==(const Range&) const = default;
};

/// Part `part_idx` of `num_parts` near-equal contiguous parts of [0, size); the first size % num_parts are
/// one longer. The one rule by which samples, experts and rows are sharded.
constexpr Range part_of(index_t size, index_t num_parts, index_t part_idx) {
    const index_t base = size / num_parts;
    const index_t extra = size % num_parts;
    const index_t begin = part_idx * base + (part_idx < extra ? part_idx : extra);
    return {begin, begin + base + (part_idx < extra ? 1 : 0)};
}

}  // namespace sy
