#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"

// Weak: null where the program is linked without the sanitizer that has them.
extern "C" {
#define SY_WEAK __attribute__((weak))
SY_WEAK void __sanitizer_start_switch_fiber(void** fake, const void* bottom, std::size_t size);
SY_WEAK void __sanitizer_finish_switch_fiber(void* fake, const void** bottom, std::size_t* size);
SY_WEAK void __asan_poison_memory_region(const volatile void* from, std::size_t bytes);
SY_WEAK void __asan_unpoison_memory_region(const volatile void* from, std::size_t bytes);
SY_WEAK void* __tsan_get_current_fiber();
SY_WEAK void* __tsan_create_fiber(unsigned flags);
SY_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
SY_WEAK void __tsan_set_fiber_name(void* fiber, const char* name);
SY_WEAK void __tsan_acquire(void* at);
SY_WEAK void __tsan_release(void* at);
SY_WEAK void __tsan_read_range(void* from, unsigned long bytes);
SY_WEAK void __tsan_write_range(void* to, unsigned long bytes);
#undef SY_WEAK
}

namespace sy::emulation::sanitizer {

bool tells_threads_apart() {
    return __tsan_create_fiber != nullptr;
}

void* new_identity(const char* name) {
    if (!tells_threads_apart()) return nullptr;
    void* identity = __tsan_create_fiber(0);
    __tsan_set_fiber_name(identity, name);
    return identity;
}

void* current_identity() {
    return tells_threads_apart() ? __tsan_get_current_fiber() : nullptr;
}

void become(void* identity) {
    constexpr unsigned kNoOrder = 1;  // the switch itself orders nothing
    if (tells_threads_apart()) __tsan_switch_to_fiber(identity, kNoOrder);
}

void acquire(void* at) {
    if (__tsan_acquire != nullptr) __tsan_acquire(at);
}

void release(void* at) {
    if (__tsan_release != nullptr) __tsan_release(at);
}

void read(const void* from, std::size_t bytes) {
    if (__tsan_read_range != nullptr && bytes > 0) __tsan_read_range(const_cast<void*>(from), bytes);
}

void write(void* to, std::size_t bytes) {
    if (__tsan_write_range != nullptr && bytes > 0) __tsan_write_range(to, bytes);
}

void poison(const void* from, std::size_t bytes) {
    if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(from, bytes);
}

void unpoison(const void* from, std::size_t bytes) {
    if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(from, bytes);
}

void start_switch(void** own_fake_stack, const void* bottom, std::size_t bytes) {
    if (__sanitizer_start_switch_fiber != nullptr) {
        __sanitizer_start_switch_fiber(own_fake_stack, bottom, bytes);
    }
}

void finish_switch(void* own_fake_stack, const void** previous_bottom, std::size_t* previous_bytes) {
    if (__sanitizer_finish_switch_fiber != nullptr) {
        __sanitizer_finish_switch_fiber(own_fake_stack, previous_bottom, previous_bytes);
    }
}

}  // namespace sy::emulation::sanitizer
