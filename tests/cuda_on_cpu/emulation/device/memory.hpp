#pragma once

#include <type_traits>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

// Loads and stores with a hint for the caches, and shared memory.

template <typename T>
T __ldg(const T* at) {
    return *at;
}
template <typename T>
T __ldcg(const T* at) {
    return *at;
}
template <typename T>
T __ldca(const T* at) {
    return *at;
}
template <typename T>
T __ldcs(const T* at) {
    return *at;
}
template <typename T>
void __stcg(T* at, std::type_identity_t<T> value) {
    *at = value;
}
template <typename T>
void __stcs(T* at, std::type_identity_t<T> value) {
    *at = value;
}

/// What SY_SHARED is under the emulation: a reference to the block's own variable, with red zones.
#define SY_EMULATED_SHARED(name, ...)                                                               \
    auto& name = *static_cast<std::type_identity_t<__VA_ARGS__>*>(::sy::emulation::shared_variable( \
        [] {                                                                                        \
            static char key;                                                                        \
            return &key;                                                                            \
        }(),                                                                                        \
        sizeof(__VA_ARGS__), ::sy::emulation::Place::current()))
/// What SY_DYNAMIC_SHARED is: a pointer to as many bytes as the launch asked for.
#define SY_EMULATED_DYNAMIC_SHARED(name, ...)                     \
    auto* name = static_cast<std::type_identity_t<__VA_ARGS__>*>( \
        ::sy::emulation::dynamic_shared(::sy::emulation::Place::current()))
