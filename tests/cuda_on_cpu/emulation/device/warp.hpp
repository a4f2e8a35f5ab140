#pragma once

#include <algorithm>
#include <bit>

#include "tests/cuda_on_cpu/emulation/device/bits.hpp"
#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

// Exchanges of a warp, under their CUDA names.

constexpr int warpSize = 32;
constexpr unsigned kSyEveryLane = 0xffffffffU;

inline void __syncwarp(unsigned mask = kSyEveryLane,
                       sy::emulation::Place where = sy::emulation::Place::current()) {
    sy::emulation::warp_sync(mask, where);
}

template <typename T>
T sy_emulated_shuffle(const sy::emulation::Shuffle& shuffle, unsigned mask, const T& value,
                      const sy::emulation::Place& where) {
    return sy::emulation::from_bits<T>(
        sy::emulation::warp_shuffle(shuffle, mask, sy::emulation::to_bits(value), where));
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int from, int width = warpSize,
              sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy_emulated_shuffle<T>({sy::emulation::WarpOp::shuffle, from, width}, mask, value, where);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                 sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy_emulated_shuffle<T>({sy::emulation::WarpOp::shuffle_up, int(by), width}, mask, value, where);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                   sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy_emulated_shuffle<T>({sy::emulation::WarpOp::shuffle_down, int(by), width}, mask, value, where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int by, int width = warpSize,
                  sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy_emulated_shuffle<T>({sy::emulation::WarpOp::shuffle_xor, by, width}, mask, value, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy::emulation::warp_vote(sy::emulation::WarpOp::ballot, mask, std::uint64_t(predicate != 0),
                                    where);
}
inline int __any_sync(unsigned mask, int predicate,
                      sy::emulation::Place where = sy::emulation::Place::current()) {
    return int(__ballot_sync(mask, predicate, where) != 0);
}
inline int __all_sync(unsigned mask, int predicate,
                      sy::emulation::Place where = sy::emulation::Place::current()) {
    return int(__ballot_sync(mask, predicate, where) == mask);
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value,
                          sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy::emulation::warp_vote(sy::emulation::WarpOp::match, mask, sy::emulation::to_bits(value), where);
}
inline unsigned __activemask() {
    return sy::emulation::live_mask();
}

template <typename T, typename Combine>
T sy_emulated_reduction(unsigned mask, T value, Combine combine, const sy::emulation::Place& where) {
    const auto values = sy::emulation::warp_gather(mask, sy::emulation::to_bits(value), where);
    unsigned lane = unsigned(std::countr_zero(mask));
    T result = sy::emulation::from_bits<T>(values[lane]);
    for (++lane; lane < sy::emulation::kWarpSize; ++lane) {
        if ((mask >> lane & 1) != 0) result = combine(result, sy::emulation::from_bits<T>(values[lane]));
    }
    return result;
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value, sy::emulation::Place where = sy::emulation::Place::current()) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "as on the device");
    return sy_emulated_reduction(
        mask, value, [](T a, T b) { return T(unsigned(a) + unsigned(b)); }, where);
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value, sy::emulation::Place where = sy::emulation::Place::current()) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "as on the device");
    return sy_emulated_reduction(
        mask, value, [](T a, T b) { return std::max(a, b); }, where);
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value, sy::emulation::Place where = sy::emulation::Place::current()) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "as on the device");
    return sy_emulated_reduction(
        mask, value, [](T a, T b) { return std::min(a, b); }, where);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value,
                                 sy::emulation::Place where = sy::emulation::Place::current()) {
    return sy_emulated_reduction(
        mask, value, [](unsigned a, unsigned b) { return a | b; }, where);
}
