#include "kernels/ops/gemm/kernel.hpp"

#include <type_traits>

namespace sy::ops::detail {
namespace {

template <class In>
const Kernels* table(Isa isa) {
    switch (isa) {
        case Isa::generic:
            return generic_kernels<In>();
        case Isa::avx2:
            return avx2_kernels<In>();
        case Isa::avx512:
            return avx512_kernels<In>();
        case Isa::avx512_bf16:
        case Isa::amx_bf16:  // its unit multiplies bf16 otherwise
            if constexpr (std::is_same_v<In, bf16>) return avx512_bf16_kernels();
            return avx512_kernels<In>();
    }
    return nullptr;
}

}  // namespace

template <class In>
const Kernels& kernels(Isa isa) {
    const Kernels* const found = isa <= best_isa() ? table<In>(isa) : nullptr;
    SY_REQUIRE(found != nullptr, "gemm: kernels of ", isa_name(isa), " requested, this processor has ",
               isa_name(best_isa()), " at most");
    return *found;
}

template const Kernels& kernels<float>(Isa isa);
template const Kernels& kernels<bf16>(Isa isa);

}  // namespace sy::ops::detail
