#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tests/support/fenced_device.hpp"
#include "tests/support/read_values.hpp"
#include "tests/support/session.hpp"

namespace sy::test {

/// The processor as a device, or one behind a fence where `device` is given.
inline TestSession session_on(std::unique_ptr<CpuDevice> device) {
    return device ? TestSession(std::move(device), NumericsMode::fast) : TestSession(1);
}

/// A flat array in the memory of a device, which a test writes and reads as a whole.
template <class T>
class DeviceArray {
  public:
    DeviceArray(const std::vector<T>& values, const Context& context)
        : context_(context), memory_(upload(std::span<const T>(values), context)) {}

    TensorRef ref() { return memory_; }
    void write(const std::vector<T>& values) {
        context_.device.upload(std::span<const T>(values), memory_, context_.stream);
    }
    std::vector<T> read() const { return read_values<T>(memory_, context_); }

  private:
    const Context& context_;
    Tensor memory_;
};

/// Whether cases behind a fence are left out: under the thread sanitizer opening and closing it takes minutes.
#ifdef __SANITIZE_THREAD__
inline constexpr bool kFenceIsSlow = true;
#else
inline constexpr bool kFenceIsSlow = false;
#endif

/// Calls run(device) for a device behind a fence, in two orders of its work.
template <class Run>
void behind_a_fence(const Run& run) {
    if (kFenceIsSlow) return;
    for (const Turns turns : {Turns::oldest, Turns::drawn})
        run([turns] { return std::make_unique<FencedDevice>(turns); });
}

}  // namespace sy::test
