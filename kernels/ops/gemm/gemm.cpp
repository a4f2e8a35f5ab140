#include "kernels/ops/gemm/gemm.hpp"

#include "kernels/ops/gemm/blocked.hpp"
#include "kernels/ops/gemm/scratch_pool.hpp"

namespace sy::ops {

struct Gemm::State {
    Isa isa;
    const detail::Kernels& f32 = detail::kernels<float>(isa);
    const detail::Kernels& bf16 = detail::kernels<sy::bf16>(isa);
    detail::ScratchPool scratch{detail::blocked_scratch_bytes()};

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
void Gemm::multiply(const Product<In>& product) const {
    const detail::ScratchPool::Lease scratch(state_->scratch);
    detail::multiply_blocked(product, state_->kernels<In>(), scratch.get());
}

template <class In>
void Gemm::add_to_gradient(const GradientProduct<In>& product) const {
    const detail::ScratchPool::Lease scratch(state_->scratch);
    detail::add_blocked(product, state_->kernels<In>(), scratch.get());
}

template void Gemm::multiply<float>(const Product<float>&) const;
template void Gemm::multiply<bf16>(const Product<bf16>&) const;
template void Gemm::add_to_gradient<float>(const GradientProduct<float>&) const;
template void Gemm::add_to_gradient<bf16>(const GradientProduct<bf16>&) const;

}  // namespace sy::ops
