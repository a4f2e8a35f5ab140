#pragma once

#include <atomic>
#include <type_traits>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

// Atomic operations, under their CUDA names and for the types that the device has: relaxed, and each a point where the
// order `random` may switch threads.

namespace sy::emulation {

template <typename T, typename... Allowed>
inline constexpr bool kIsOneOf = (std::is_same_v<T, Allowed> || ...);

/// Replaces *at by change(*at). Returns what was there.
template <typename T, typename Change>
T atomic_change(T* at, Change change) {
    maybe_yield();
    std::atomic_ref<T> shared(*at);
    T old = shared.load(std::memory_order_relaxed);
    while (!shared.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
    }
    return old;
}

}  // namespace sy::emulation

template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long, float, double>,
                  "the device has no such atomicAdd");
    sy::emulation::maybe_yield();
    return std::atomic_ref<T>(*at).fetch_add(value, std::memory_order_relaxed);
}
template <typename T>
T atomicSub(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned>, "the device has no such atomicSub");
    sy::emulation::maybe_yield();
    return std::atomic_ref<T>(*at).fetch_sub(value, std::memory_order_relaxed);
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long, float>,
                  "the device has no such atomicExch");
    sy::emulation::maybe_yield();
    return std::atomic_ref<T>(*at).exchange(value, std::memory_order_relaxed);
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, long long, unsigned long long>,
                  "the device has no such atomicMax");
    return sy::emulation::atomic_change(at, [value](T old) { return old < value ? value : old; });
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, long long, unsigned long long>,
                  "the device has no such atomicMin");
    return sy::emulation::atomic_change(at, [value](T old) { return value < old ? value : old; });
}
template <typename T>
T atomicAnd(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long>,
                  "the device has no such atomicAnd");
    return sy::emulation::atomic_change(at, [value](T old) { return T(old & value); });
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long>,
                  "the device has no such atomicOr");
    return sy::emulation::atomic_change(at, [value](T old) { return T(old | value); });
}
template <typename T>
T atomicXor(T* at, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long>,
                  "the device has no such atomicXor");
    return sy::emulation::atomic_change(at, [value](T old) { return T(old ^ value); });
}
template <typename T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    static_assert(sy::emulation::kIsOneOf<T, int, unsigned, unsigned long long, unsigned short>,
                  "the device has no such atomicCAS");
    sy::emulation::maybe_yield();
    std::atomic_ref<T>(*at).compare_exchange_strong(expected, value, std::memory_order_relaxed);
    return expected;
}
