#include <omp.h>

#include <dnnl.hpp>

#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/gemm/scratch_pool.hpp"

namespace sy::ops {

struct GemmLibrary::State {
    explicit State(FastBody body) : fast_body(body) {}

    FastBody fast_body;
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    const detail::TileFunctions& tiles = detail::tile_functions(detail::best_instructions());
    detail::ScratchPool scratch{detail::ordered_scratch_bytes()};
};

GemmLibrary::GemmLibrary(FastBody fast_body) : state_(std::make_unique<State>(fast_body)) {}
GemmLibrary::~GemmLibrary() = default;

std::string GemmLibrary::name() const {
    const dnnl_version_t* const version = dnnl_version();
    return concat("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

namespace {

/// The library would start its own OpenMP threads; ours are busy already. Per calling thread, nothing global.
void stay_on_this_thread() {
    if (omp_get_max_threads() != 1) omp_set_num_threads(1);
}

void multiply_fast(const Product<float>& product, index_t num_k, const dnnl::engine&) {
    const char ta = product.transpose_a == Transpose::yes ? 'T' : 'N';
    const char tb = product.transpose_b == Transpose::yes ? 'T' : 'N';
    const dnnl_status_t status =
        dnnl_sgemm(ta, tb, product.c.rows, product.c.cols, num_k, 1.0F, product.a.data, product.a.stride,
                   product.b.data, product.b.stride, product.beta, product.c.data, product.c.stride);
    if (status != dnnl_success) {
        throw Error(concat("dnnl_sgemm of [", product.c.rows, ", ", num_k, "] x [", num_k, ", ",
                           product.c.cols, "] failed with status ", static_cast<int>(status)));
    }
}

dnnl::memory::desc describe(const MatrixView<const bf16>& x, Transpose transpose) {
    const dnnl::memory::dims strides{x.stride, 1};
    if (transpose == Transpose::no) return {{x.rows, x.cols}, dnnl::memory::data_type::bf16, strides};
    return {{x.cols, x.rows}, dnnl::memory::data_type::bf16, {1, x.stride}};
}

/// Primitives are kept by the library's own cache, so only the first call of a shape compiles.
void multiply_fast(const Product<bf16>& product, index_t, const dnnl::engine& engine) {
    const dnnl::memory::desc a = describe(product.a, product.transpose_a);
    const dnnl::memory::desc b = describe(product.b, product.transpose_b);
    const dnnl::memory::desc c({product.c.rows, product.c.cols}, dnnl::memory::data_type::f32,
                               {product.c.stride, 1});
    dnnl::primitive_attr attributes;
    if (product.beta != 0.0F) {
        dnnl::post_ops post_ops;
        post_ops.append_sum(1.0F);
        attributes.set_post_ops(post_ops);
    }
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, engine);
    // The library's interface takes pointers to non-const for inputs too; it does not write them.
    dnnl::memory a_memory(a, engine, const_cast<bf16*>(product.a.data));
    dnnl::memory b_memory(b, engine, const_cast<bf16*>(product.b.data));
    dnnl::memory c_memory(c, engine, product.c.data);
    dnnl::stream stream(engine);
    dnnl::matmul(description)
        .execute(stream, {{DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, c_memory}});
    stream.wait();
}

}  // namespace

template <class In>
void GemmLibrary::multiply(const Product<In>& product, NumericsMode numerics) const {
    const index_t num_k = detail::check_sides(product);
    if (detail::finish_empty(product, num_k)) return;
    bool own = numerics == NumericsMode::reproducible;
    if constexpr (std::is_same_v<In, float>) own = own || detail::use_own_body(product, state_->fast_body);
    if (own) {
        const detail::ScratchPool::Lease scratch(state_->scratch);
        detail::multiply_ordered(product, state_->tiles, scratch.get());
        return;
    }
    stay_on_this_thread();
    multiply_fast(product, num_k, state_->engine);
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
