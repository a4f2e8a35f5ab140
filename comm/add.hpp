#pragma once

#include <type_traits>

namespace sy::comm {

/// How ranks' values are added: floats as they are; integers modulo 2^n, as sums of hashes and of fixed point need,
/// whose partial sums may leave the range.
template <class T>
T add(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        using Unsigned = std::make_unsigned_t<T>;
        return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
        return a + b;
    }
}

}  // namespace sy::comm
