#pragma once

#include "kernels/ops/gemm/host_gemm.hpp"
#include "kernels/ops/gemm/kernel.hpp"

/// Products of one thread, in blocks that fit the caches. Every element of C is one chain over ascending k, whatever M,
/// N and the place of its row: between blocks of k the chain continues from C, which is exact.
namespace sy::ops::detail {

/// Bytes of scratch memory (64-byte aligned) that one call uses.
index_t blocked_scratch_bytes();

/// The sides fit, and none is zero.
template <class In>
void multiply_blocked(const HostProduct<In>& product, const Kernels& kernels, void* scratch);

/// Gemm::add_to_gradient. Blocks of rows are taken together, as many as fit one block of k: their operands are packed
/// once, and a tile of the gradient receives all their sums while it is in the first-level cache.
template <class In>
void add_blocked(const GradientProduct<In>& product, const Kernels& kernels, void* scratch);

}  // namespace sy::ops::detail
