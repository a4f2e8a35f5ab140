#pragma once

#include "kernels/core/dtype.hpp"
#include "kernels/core/thread_team.hpp"

namespace sy {

/// Sustained rate of multiply-adds into float32 that touch registers only, over all threads of the team, in
/// GFLOP/s: the ceiling that benchmarks state their share of. It is counted by the processor time of each thread, so that
/// other programs on the machine do not lower it. Takes about 0.1 s.
/// @param inputs  f32, or bf16: pairwise dot products where the processor has them, else the same as f32
/// @throws LogicError for any other type
double measure_peak_gflops(ThreadTeam& team, DType inputs = DType::f32);

}  // namespace sy
