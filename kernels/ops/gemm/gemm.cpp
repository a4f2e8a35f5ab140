#include "kernels/ops/gemm/host_gemm.hpp"

#include <algorithm>
#include <type_traits>

#include "kernels/ops/gemm/blocked.hpp"
#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/scratch_pool.hpp"
#include "kernels/ops/gemm/tile_unit.hpp"

namespace sy::ops {

struct Gemm::State {
    Isa isa;
    const detail::Kernels& f32 = detail::kernels<float>(isa);
    const detail::Kernels& bf16 = detail::kernels<sy::bf16>(isa);
    /// For products of bf16, where the processor has it.
    const detail::TileUnit* unit = isa == Isa::amx_bf16 ? detail::amx_tile_unit() : nullptr;
    detail::ScratchPool scratch{
        std::max(detail::blocked_scratch_bytes(), unit == nullptr ? 0 : unit->scratch_bytes)};

    template <class In>
    const detail::Kernels& kernels() const {
        if constexpr (std::is_same_v<In, float>)
            return f32;
        else
            return bf16;
    }
};

Gemm::Gemm(Isa isa) : state_(new State{isa}) {}
Gemm::~Gemm() = default;

Isa Gemm::isa() const {
    return state_->isa;
}

template <class In>
void Gemm::multiply(const HostProduct<In>& product) const {
    const index_t num_k = detail::check_sides(product);
    if (detail::finish_empty(product, num_k)) return;
    const detail::ScratchPool::Lease scratch(state_->scratch);
    if constexpr (std::is_same_v<In, sy::bf16>) {
        if (state_->unit != nullptr) {
            const bool plain = product.transpose_a == Transpose::no && product.transpose_b == Transpose::no;
            if (plain && product.c.rows <= detail::kFewRows) return detail::multiply_few_rows(product);
            return state_->unit->multiply(product, scratch.get());
        }
    }
    detail::multiply_blocked(product, state_->kernels<In>(), scratch.get());
}

template <class In>
void Gemm::add_to_gradient(const GradientProduct<In>& product) const {
    detail::check_gradient_sides(product);
    if (product.x.cols == 0 || product.dy.cols == 0) return;
    const detail::ScratchPool::Lease scratch(state_->scratch);
    if constexpr (std::is_same_v<In, sy::bf16>) {
        if (state_->unit != nullptr) return state_->unit->add_to_gradient(product, scratch.get());
    }
    detail::add_blocked(product, state_->kernels<In>(), scratch.get());
}

template void Gemm::multiply<float>(const HostProduct<float>&) const;
template void Gemm::multiply<bf16>(const HostProduct<bf16>&) const;
template void Gemm::add_to_gradient<float>(const GradientProduct<float>&) const;
template void Gemm::add_to_gradient<bf16>(const GradientProduct<bf16>&) const;

}  // namespace sy::ops
