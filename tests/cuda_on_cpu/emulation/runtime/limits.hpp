#pragma once

#include <cstddef>

/// The emulated device: of compute capability 9.0, but with few multiprocessors, so that grids sized by them stay small.
namespace sy::emulation {

constexpr std::size_t kNumMultiprocessors = 4;
constexpr std::size_t kMaxThreadsPerBlock = 1024;
constexpr std::size_t kMaxThreadsPerMultiprocessor = 2048;

}  // namespace sy::emulation
