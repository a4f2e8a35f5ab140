#pragma once

#include "kernels/cuda/cudnn_graph.hpp"

/// Scaled-dot-product attention as a graph of cuDNN's. B = num_sequences, Sq = seq_len, Sk = key_len, D = head_dim, Dv =
/// value_dim, T = B * Sq query rows, Tk = B * Sk key rows.
namespace sy::cuda {

struct CudnnAttentionShape {
    enum class Mask : std::uint8_t { none, causal };

    index_t num_sequences = 0;
    index_t seq_len = 0;
    index_t key_len = 0;
    index_t heads = 0;
    index_t kv_heads = 0;
    index_t head_dim = 0;
    index_t value_dim = 0;
    Mask mask = Mask::causal;
    index_t window = 0;  ///< query i sees keys j > i - window only; 0: no limit. Needs `causal`
};

/// Under which ids a plan is given its operands, all row-major.
enum class CudnnAttentionOperand : std::uint8_t {
    q = 1,   ///< [T, heads * D] bf16
    k,       ///< [Tk, kv_heads * D] bf16
    v,       ///< [Tk, kv_heads * Dv] bf16
    out,     ///< [T, heads * Dv] bf16
    lse,     ///< [T, heads] f32, log of the sums of e^score
    scale,   ///< a float of the host's
    hidden,  ///< a float of the host's, the score of a key that is not seen: -infinity
    window,  ///< an int32 of the host's, where there is a window
};

/// @return a plan for the GPU that a descriptor of device properties describes
/// @throws CudaError with cuDNN's own words when it has no kernel for the shape
/// @par Source  Dao et al., FlashAttention, arXiv:2205.14135; the operations are those of the definition, in the order in
///              which cuDNN recognises them
CudnnPlan plan_attention(const CudnnFunctions& functions, const CudnnAttentionShape& shape,
                         cudnnBackendDescriptor_t device_properties);

}  // namespace sy::cuda
