#pragma once

#include "kernels/ops/bodies.hpp"

/// The bodies of the CPU: each is in the folder of its operation, in a file that ends in _cpu.cpp.
namespace sy::ops {
namespace on_cpu {

#define SY_ROW(name, type) type name;
SY_OPERATIONS(SY_ROW)
#undef SY_ROW

}  // namespace on_cpu

extern const Bodies kCpuBodies;

}  // namespace sy::ops
