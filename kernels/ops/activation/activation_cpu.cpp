#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/ops/activation/rows.hpp"

namespace sy::ops {
namespace {

/// Columns of a row whose sums with a bias stay in the first-level cache.
constexpr index_t kBiasedCols = 512;

/// @return sum = x + bias
SY_INLINE const float* add_bias(const float* x, const float* bias, index_t count, float* sum) {
    simd::for_lanes(count, [&](index_t i, auto load, auto store)
                               SY_BODY { store(sum + i, load(x + i) + load(bias + i)); });
    return sum;
}

template <class In>
SY_INLINE void keep(const float* x, index_t count, In* kept) {
    simd::for_lanes(count, [&](index_t i, auto load, auto store) SY_BODY { store(kept + i, load(x + i)); });
}

/// Rows with biases go piece by piece: their sums are formed aside, so that f is compiled once for both.
template <class F, class In>
SY_INLINE void formula_rows(const Activate<In>& block) {
    alignas(64) float gate_sum[kBiasedCols];
    alignas(64) float up_sum[kBiasedCols];
    const bool biased = !block.up_bias.empty();
    const index_t step = biased ? kBiasedCols : std::max(block.up.cols, index_t{1});
    for (index_t r = 0; r < block.up.rows; ++r) {
        const float weight = detail::weight_of(block.weight, r);
        for (index_t first = 0; first < block.up.cols; first += step) {
            const index_t count = std::min(step, block.up.cols - first);
            const float* gate = F::kGated ? block.gate.data + r * block.gate.stride + first : nullptr;
            const float* up = block.up.data + r * block.up.stride + first;
            if (biased) {
                if constexpr (F::kGated)
                    gate = add_bias(gate, block.gate_bias.data() + first, count, gate_sum);
                up = add_bias(up, block.up_bias.data() + first, count, up_sum);
            }
            if (block.kept_up.data != nullptr) {
                if constexpr (F::kGated)
                    keep(gate, count, block.kept_gate.data + r * block.kept_gate.stride + first);
                keep(up, count, block.kept_up.data + r * block.kept_up.stride + first);
            }
            In* const h = block.h.data + r * block.h.stride + first;
            simd::for_lanes(count, [&](index_t i, auto load, auto store) SY_BODY {
                if constexpr (F::kGated) {
                    store(h + i, F::Function::value(load(gate + i)) * load(up + i) * weight);
                } else {
                    store(h + i, F::Function::value(load(up + i)) * weight);
                }
            });
        }
    }
}

template <class In>
void forward_rows(const Activate<In>& block) {
    simd::for_isa([&block]() SY_BODY {
        detail::with_formula(block.kind,
                             [&](auto formula) SY_BODY { formula_rows<decltype(formula)>(block); });
    });
}

template <class In>
void check(const Activate<In>& block) {
    const bool gated = is_gated(block.kind);
    const bool keeps = block.kept_up.data != nullptr;
    const bool biased = !block.up_bias.empty();
    SY_FITS(detail::fits(block.gate, block.up, detail::present_if(gated)) &&
                detail::fits(block.h, block.up) &&
                detail::fits(block.kept_gate, block.up, detail::present_if(gated && keeps)) &&
                detail::fits(block.kept_up, block.up, detail::present_if(keeps)) &&
                detail::fits_or_empty(block.up_bias, block.up.cols) &&
                detail::fits_or_empty(block.gate_bias, block.up.cols) &&
                block.gate_bias.empty() != (gated && biased) &&
                detail::fits_or_empty(block.weight, block.up.rows),
            activation_name(block.kind), ": gate [", block.gate.rows, ", ", block.gate.cols, "], up [",
            block.up.rows, ", ", block.up.cols, "], h [", block.h.rows, ", ", block.h.cols, "], kept [",
            block.kept_gate.rows, ", ", block.kept_gate.cols, "] and [", block.kept_up.rows, ", ",
            block.kept_up.cols, "], biases ", block.gate_bias.size(), " and ", block.up_bias.size(), ", ",
            block.weight.size(), " weights");
}

}  // namespace

template <class In>
void activate(const Activate<In>& block) {
    check(block);
    forward_rows(block);
}

template void activate<float>(const Activate<float>&);
template void activate<bf16>(const Activate<bf16>&);

}  // namespace sy::ops
