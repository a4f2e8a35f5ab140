#pragma once

#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/gemm/kernel.hpp"

/// Products of one thread, in blocks that fit the caches. Every element of C is one chain over ascending k, whatever M,
/// N and the place of its row: between blocks of k the chain continues from C, which is exact.
namespace sy::ops::detail {

/// Bytes of scratch memory (64-byte aligned) that one call uses.
index_t blocked_scratch_bytes();

template <class In>
void multiply_blocked(const Product<In>& product, const Kernels& kernels, void* scratch);

/// The same, added to a fixed-point gradient. Sums of up to one block of k are added tile by tile while they are in the
/// first-level cache; longer ones pass through C.
template <class In>
void add_blocked(const Product<In>& product, const GradientTile& target, const Kernels& kernels,
                 void* scratch);

}  // namespace sy::ops::detail
