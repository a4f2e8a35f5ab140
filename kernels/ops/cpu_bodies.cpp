#include "kernels/ops/cpu_bodies.hpp"

namespace sy::ops {

/// What the CPU supports: everything.
constinit const Bodies kCpuBodies{
#define SY_ROW(name, type) .name = on_cpu::name,
    SY_OPERATIONS(SY_ROW)
#undef SY_ROW
};

}  // namespace sy::ops
