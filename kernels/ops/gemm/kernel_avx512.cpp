// Kernels for 512-bit registers: 24 of them hold 12 x 32 of C, or as much of a wider tile with fewer rows.
#include "kernels/ops/gemm/kernel.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#define SY_TARGET __attribute__((target("arch=x86-64-v4")))
#include "kernels/ops/gemm/vector_avx512.hpp"

namespace sy::ops::detail {
namespace {
SY_TARGET_INLINE vector_t multiply_add(vector_t a, vector_t b, vector_t sum) {
    return _mm512_fmadd_ps(a, b, sum);
}
}  // namespace
}  // namespace sy::ops::detail

#include "kernels/ops/gemm/kernel_body.hpp"

namespace sy::ops::detail {
namespace {

/// Widens bf16.
struct LoadBf16 {
    static constexpr std::size_t kTogether = 1;
    const std::byte* row;
    SY_TARGET_INLINE void operator()(std::size_t i, vector_t* words) const {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row) + i);
        // The forms with a mask, since GCC 12 warns of the others.
        const __m512i wide = _mm512_maskz_cvtepu16_epi32(0xffff, halves);
        *words = _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, wide, 16));
    }
};

}  // namespace

template <class In>
const Kernels* avx512_kernels() {
    static constexpr Kernels kTable{.pairs = false,
                                    .wide = panel_kernels<2>(AllRows{}),
                                    .narrow = panel_kernels<1>(AllRows{}),
                                    .block_rows = 40 * kTileRows,
                                    .block_k = 256,
                                    .in_place = in_place_kernels<LoadInPlace<In, LoadBf16>>(AllRows{}),
                                    .in_place_rows = 8 * kTileRows};
    return &kTable;
}

}  // namespace sy::ops::detail

#else

namespace sy::ops::detail {
template <class In>
const Kernels* avx512_kernels() {
    return nullptr;
}
}  // namespace sy::ops::detail

#endif

namespace sy::ops::detail {
template const Kernels* avx512_kernels<float>();
template const Kernels* avx512_kernels<bf16>();
}  // namespace sy::ops::detail
