#pragma once

#include <cstdint>

#include "kernels/core/host_device.hpp"

namespace sy::ops::detail {

/// A well-mixed 64-bit function of one decision (the finaliser of SplitMix64 over packed fields).
SY_HOST_DEVICE inline std::uint64_t hash_choice(std::uint64_t layer, std::uint64_t token,
                                                std::uint64_t choice, std::int32_t expert,
                                                std::uint8_t kept) {
    std::uint64_t value = token * 0x9e3779b97f4a7c15ULL;
    value ^= (layer << 48) ^ (choice << 40) ^
             (static_cast<std::uint64_t>(static_cast<std::uint32_t>(expert)) << 1) ^ kept;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

}  // namespace sy::ops::detail
