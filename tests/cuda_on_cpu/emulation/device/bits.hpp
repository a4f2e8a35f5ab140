#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

/// Values as the 64 bits in which they are exchanged between lanes.
namespace sy::emulation {

template <typename T>
std::uint64_t to_bits(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <typename T>
T from_bits(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

}  // namespace sy::emulation
