#pragma once

#include "kernels/ops/gemm/host_gemm.hpp"

/// Products of bf16 on a processor's matrix unit. A step of a chain is a whole tile's depth: the products of 16 even and
/// of 16 odd elements are summed by themselves, from zero, by multiply-adds over ascending k, and both sums are added to
/// the element of C. Subnormal numbers count as zero. Steps begin at multiples of 32 elements, of which missing ones are
/// zero, so that a chain is as independent of the layout as one of single multiply-adds.
/// @par Source  TDPBF16PS in Intel's Architecture Instruction Set Extensions, chapter "Intel AMX"
namespace sy::ops::detail {

/// Elements of k that one step sums.
inline constexpr index_t kTileDepth = 32;

struct TileUnit {
    index_t scratch_bytes;  ///< of 64-byte aligned working memory that a call uses
    /// The sides fit, and none is zero.
    void (*multiply)(const HostProduct<bf16>& product, void* scratch);
    /// One block of rows after the other, each from zero.
    void (*add_to_gradient)(const GradientProduct<bf16>& product, void* scratch);
};

/// Null: not in this build. The caller knows that the processor has it.
const TileUnit* amx_tile_unit();

/// The same chains by vector instructions, for so few rows of C that B is read once where it is: A [M, K], B [K, N].
inline constexpr index_t kFewRows = 4;
void multiply_few_rows(const HostProduct<bf16>& product);

}  // namespace sy::ops::detail
