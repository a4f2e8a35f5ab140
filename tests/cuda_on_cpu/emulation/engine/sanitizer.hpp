#pragma once

#include <cstddef>

/// What the emulation, itself compiled without a sanitizer, tells the address and the thread sanitizer of a program that
/// runs under one of them; otherwise these do nothing.
///
/// Under the thread sanitizer every CUDA thread, block and stream is a fiber of its own (an identity), switched to without
/// any order between them: only barriers, exchanges of a warp, events and waits order their accesses, as on a GPU.
namespace sy::emulation::sanitizer {

bool tells_threads_apart();  ///< whether the program runs under the thread sanitizer

/// A new identity; null where the program does not run under the thread sanitizer, as are all of the next two.
void* new_identity(const char* name);
void* current_identity();
void become(void* identity);

/// Everything before release(at) happens before everything after a later acquire(at).
void acquire(void* at);
void release(void* at);

/// Accesses of code that is not instrumented.
void read(const void* from, std::size_t bytes);
void write(void* to, std::size_t bytes);

/// Memory that nobody may touch, for the address sanitizer.
void poison(const void* from, std::size_t bytes);
void unpoison(const void* from, std::size_t bytes);

/// Before and after a change of stack, for the address sanitizer.
void start_switch(void** own_fake_stack, const void* bottom, std::size_t bytes);
void finish_switch(void* own_fake_stack, const void** previous_bottom, std::size_t* previous_bytes);

}  // namespace sy::emulation::sanitizer
