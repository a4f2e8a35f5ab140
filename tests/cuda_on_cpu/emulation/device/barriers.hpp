#pragma once

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

// Barriers and fences of the device language, under their CUDA names.

inline unsigned sy_emulated_barrier(sy::emulation::Reduction reduction, int predicate,
                                    const sy::emulation::Place& where) {
    return sy::emulation::barrier(
        {.sites = sy::emulation::Sites::one, .reduction = reduction, .value = unsigned(predicate != 0)},
        where);
}

inline void __syncthreads(sy::emulation::Place where = sy::emulation::Place::current()) {
    sy_emulated_barrier(sy::emulation::Reduction::none, 0, where);
}
inline int __syncthreads_count(int predicate, sy::emulation::Place where = sy::emulation::Place::current()) {
    return int(sy_emulated_barrier(sy::emulation::Reduction::sum, predicate, where));
}
inline int __syncthreads_or(int predicate, sy::emulation::Place where = sy::emulation::Place::current()) {
    return int(sy_emulated_barrier(sy::emulation::Reduction::any, predicate, where));
}
inline int __syncthreads_and(int predicate, sy::emulation::Place where = sy::emulation::Place::current()) {
    return int(sy_emulated_barrier(sy::emulation::Reduction::all, predicate, where));
}

inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_block() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_system() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __nanosleep(unsigned) {
    sy::emulation::yield();
}
[[noreturn]] inline void __trap(sy::emulation::Place where = sy::emulation::Place::current()) {
    sy::emulation::fault(where, "__trap");
}
