#include <cblas.h>

#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/gemm/scratch_pool.hpp"

namespace sy::ops {

struct GemmLibrary::State {
    explicit State(FastBody body) : fast_body(body) {}

    FastBody fast_body;
    const detail::TileFunctions& tiles = detail::tile_functions(detail::best_instructions());
    detail::ScratchPool scratch{detail::ordered_scratch_bytes()};
};

GemmLibrary::GemmLibrary(FastBody fast_body) : state_(std::make_unique<State>(fast_body)) {}
GemmLibrary::~GemmLibrary() = default;

std::string GemmLibrary::name() const {
    return "CBLAS";
}

template <class In>
void GemmLibrary::multiply(const Product<In>& product, NumericsMode numerics) const {
    const index_t num_k = detail::check_sides(product);
    if (detail::finish_empty(product, num_k)) return;
    if constexpr (std::is_same_v<In, float>) {
        if (numerics == NumericsMode::fast && !detail::use_own_body(product, state_->fast_body)) {
            cblas_sgemm(CblasRowMajor, product.transpose_a == Transpose::yes ? CblasTrans : CblasNoTrans,
                        product.transpose_b == Transpose::yes ? CblasTrans : CblasNoTrans,
                        narrow<int>(product.c.rows), narrow<int>(product.c.cols), narrow<int>(num_k), 1.0F,
                        product.a.data, narrow<int>(product.a.stride), product.b.data,
                        narrow<int>(product.b.stride), product.beta, product.c.data,
                        narrow<int>(product.c.stride));
            return;
        }
    }
    // CBLAS has no bf16 product: the ordered body widens exactly while packing.
    const detail::ScratchPool::Lease scratch(state_->scratch);
    detail::multiply_ordered(product, state_->tiles, scratch.get());
}

template <class In>
void GemmLibrary::add_to_gradient(const Product<In>& product, const GradientTile& target) const {
    if (product.c.rows == 0 || product.c.cols == 0) return;
    const detail::ScratchPool::Lease scratch(state_->scratch);
    detail::add_product(product, target, state_->tiles, scratch.get());
}

template void GemmLibrary::multiply<float>(const Product<float>&, NumericsMode) const;
template void GemmLibrary::multiply<bf16>(const Product<bf16>&, NumericsMode) const;
template void GemmLibrary::add_to_gradient<float>(const Product<float>&, const GradientTile&) const;
template void GemmLibrary::add_to_gradient<bf16>(const Product<bf16>&, const GradientTile&) const;

}  // namespace sy::ops
