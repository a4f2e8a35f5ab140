#include "kernels/core/fits.hpp"
#include "kernels/ops/activation/rows.hpp"

namespace sy::ops {
namespace {

template <class F, class In>
SY_INLINE void formula_rows(const ActivateBackward<In>& block) {
    using Function = typename F::Function;
    for (index_t r = 0; r < block.up.rows; ++r) {
        const In* const gate = detail::row_or_null(block.gate, r);
        const In* const up = detail::row_or_null(block.up, r);
        const float* const dh = detail::row_or_null(block.dh, r);
        In* const h = detail::row_or_null(block.h, r);
        In* const dgate = detail::row_or_null(block.dgate, r);
        In* const dup = detail::row_or_null(block.dup, r);
        const float weight = detail::weight_of(block.weight, r);
        simd::f32x16 dot{};
        simd::for_lanes(block.up.cols, [&](index_t i, auto load, auto store) SY_BODY {
            const simd::f32x16 u = load(up + i);
            const simd::f32x16 unweighted = load(dh + i);
            const simd::f32x16 d = unweighted * weight;
            if constexpr (F::kGated) {
                const detail::Both f = Function::both(load(gate + i));
                const simd::f32x16 activated = f.value * u;
                dot += activated * unweighted;
                store(h + i, activated * weight);
                store(dgate + i, d * u * f.slope);
                store(dup + i, d * f.value);
            } else {
                const detail::Both f = Function::both(u);
                dot += f.value * unweighted;
                store(h + i, f.value * weight);
                store(dup + i, d * f.slope);
            }
        });
        if (!block.dot.empty()) block.dot[static_cast<std::size_t>(r)] = simd::sum(dot);
    }
}

template <class In>
void backward_rows(const ActivateBackward<In>& block) {
    simd::for_isa([&block]() SY_BODY {
        detail::with_formula(block.kind,
                             [&](auto formula) SY_BODY { formula_rows<decltype(formula)>(block); });
    });
}

template <class In>
void check(const ActivateBackward<In>& block) {
    const bool gated = is_gated(block.kind);
    SY_FITS(detail::fits(block.gate, block.up, detail::present_if(gated)) &&
                detail::fits(block.dh, block.up) && detail::fits(block.h, block.up) &&
                detail::fits(block.dgate, block.up, detail::present_if(gated)) &&
                detail::fits(block.dup, block.up) && detail::fits_or_empty(block.weight, block.up.rows) &&
                detail::fits_or_empty(block.dot, block.up.rows),
            activation_name(block.kind), " backward: gate [", block.gate.rows, ", ", block.gate.cols,
            "], up [", block.up.rows, ", ", block.up.cols, "], dh [", block.dh.rows, ", ", block.dh.cols,
            "], h [", block.h.rows, ", ", block.h.cols, "], dgate [", block.dgate.rows, ", ",
            block.dgate.cols, "], dup [", block.dup.rows, ", ", block.dup.cols, "], ", block.weight.size(),
            " weights, ", block.dot.size(), " dots");
}

}  // namespace

template <class In>
void activate_backward(const ActivateBackward<In>& block) {
    check(block);
    backward_rows(block);
}

template void activate_backward<float>(const ActivateBackward<float>&);
template void activate_backward<bf16>(const ActivateBackward<bf16>&);

}  // namespace sy::ops
