#pragma once

#include <sched.h>

#include <algorithm>

#include "kernels/core/error.hpp"

namespace sy::test {

/// This thread, and those that it starts, on one of its processors: the one that it is on.
class OnOneProcessor {
  public:
    OnOneProcessor() {
        SY_REQUIRE(::sched_getaffinity(0, sizeof before_, &before_) == 0, "sched_getaffinity");
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(std::max(::sched_getcpu(), 0)), &one);
        SY_REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
    }
    OnOneProcessor(const OnOneProcessor&) = delete;
    OnOneProcessor& operator=(const OnOneProcessor&) = delete;
    ~OnOneProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }

  private:
    cpu_set_t before_;
};

}  // namespace sy::test
