#pragma once

#include "kernels/core/gradient_ref.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

/// Adding to gradients in kernels, with the arithmetic of kernels/core/gradient.hpp. Threads own elements: none is added to
/// by two at once.
namespace sy::cuda {

/// A gradient (kernels/core/gradient_ref.hpp) as kernels see it: one of `f32` and `fixed` is not null.
struct Gradient {
    float* f32 = nullptr;
    std::int64_t* fixed = nullptr;
    std::uint8_t* overflow = nullptr;
    float limit = 0.0F;

    explicit Gradient(const GradientRef& gradient) {
        if (gradient.is_null()) return;
        limit = gradient.limit;
        if (gradient.is_fixed()) {
            fixed = values<std::int64_t>(gradient.sums);
            overflow = values<std::uint8_t>(gradient.overflow);
            SY_REQUIRE(overflow != nullptr, "gradient: fixed point without overflow flag");
        } else {
            f32 = values<float>(gradient.sums);
        }
    }

    bool is_null() const { return f32 == nullptr && fixed == nullptr; }
    /// Element i += addend; as fixed point round(addend * 2^46) to nearest even, and 0 where it is out of range.
    __device__ void add(index_t i, float addend) const {
        if (fixed == nullptr) {
            f32[i] += addend;
            return;
        }
        if (!(fabsf(addend) < limit)) {
            *overflow = 1;
            return;
        }
        const auto units = llrint(static_cast<double>(addend) * (1.0 / kGradientUnit));
        fixed[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(fixed[i]) +
                                             static_cast<std::uint64_t>(units));
    }
};

/// gradient[i] += the addends of block 0, of block 1, ..., in this order. @param addends  [blocks, elements]
inline void add_blocks(Matrix<const float> addends, const Gradient& gradient, const Context& context) {
    for_elements(context, addends.cols, [=] __device__(index_t i) {
        for (index_t block = 0; block < addends.rows; ++block) gradient.add(i, addends(block, i));
    });
}

}  // namespace sy::cuda
