#include "kernels/ops/permute/permute.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/pieces.hpp"

namespace sy::ops {
namespace {

template <class In, class Out>
void widen_rows(cuda::Matrix<const In> x, const std::int32_t* row, cuda::Matrix<Out> out,
                const Context& context) {
    cuda::for_matrix(context, out.rows, out.cols, [=] __device__(index_t i, index_t h) {
        out(i, h) = static_cast<Out>(static_cast<float>(x(row[i], h)));
    });
}

/// Rows moved as they are, sixteen bytes at a time where they allow it.
template <class Piece>
void move_rows(cuda::Matrix<const Piece> x, const std::int32_t* row, cuda::Matrix<Piece> out,
               const Context& context) {
    cuda::for_matrix(context, out.rows, out.cols,
                     [=] __device__(index_t i, index_t h) { out(i, h) = x(row[i], h); });
}

template <class Piece>
void place_rows(cuda::Matrix<const Piece> x, const index_t* places, cuda::Matrix<Piece> out,
                const Context& context) {
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t i, index_t h) { out(places[i], h) = x(i, h); });
}

/// out = ((first + s0) + s1) + ... for each column.
template <class In, class Out>
struct SumRows {
    cuda::Matrix<const In> x;
    const index_t* offsets;
    const std::int32_t* sources;
    bool adds;
    cuda::Matrix<Out> out;
};

template <class In, class Out>
void sum(const SumRows<In, Out>& rows, const Context& context) {
    const SumRows<In, Out> op = rows;
    cuda::for_matrix(context, op.out.rows, op.out.cols, [=] __device__(index_t r, index_t h) {
        float sum = op.adds ? static_cast<float>(op.out(r, h)) : 0.0F;
        for (index_t s = op.offsets[r]; s < op.offsets[r + 1]; ++s)
            sum += static_cast<float>(op.x(op.sources[s], h));
        op.out(r, h) = static_cast<Out>(sum);
    });
}

/// The same, four columns of f32 or eight of bf16 a thread.
template <class In>
void sum_packs(const SumRows<cuda::Pack<In>, cuda::Pack<In>>& rows, const Context& context) {
    const SumRows<cuda::Pack<In>, cuda::Pack<In>> op = rows;
    cuda::for_matrix(context, op.out.rows, op.out.cols, [=] __device__(index_t r, index_t h) {
        float sums[cuda::Pack<In>::kSize];
        const cuda::Pack<In> before = op.adds ? op.out(r, h) : cuda::Pack<In>{};
        for (std::size_t lane = 0; lane < cuda::Pack<In>::kSize; ++lane)
            sums[lane] = op.adds ? static_cast<float>(before.lanes[lane]) : 0.0F;
        for (index_t s = op.offsets[r]; s < op.offsets[r + 1]; ++s) {
            const cuda::Pack<In> addend = op.x(op.sources[s], h);
            for (std::size_t lane = 0; lane < cuda::Pack<In>::kSize; ++lane)
                sums[lane] += static_cast<float>(addend.lanes[lane]);
        }
        cuda::Pack<In> result;
        for (std::size_t lane = 0; lane < cuda::Pack<In>::kSize; ++lane)
            result.lanes[lane] = static_cast<In>(sums[lane]);
        op.out(r, h) = result;
    });
}

}  // namespace

void on_cuda::gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                          const Context& context) {
    const cuda::HostList<std::int32_t> list(row, context);
    if (x.dtype() != out.dtype()) {
        widen_rows(cuda::view<const bf16>(x), list.data(), cuda::view<float>(out), context);
        return;
    }
    cuda::with_pieces(cuda::widest_piece({x, out}), [&]<class Piece>() {
        move_rows<Piece>(cuda::pieces<const Piece>(x), list.data(), cuda::pieces<Piece>(out), context);
    });
}

void on_cuda::scatter_rows(ConstTensorRef x, List<index_t> place, TensorRef out, const Context& context) {
    const cuda::HostList<index_t> list(place, context);
    cuda::with_pieces(cuda::widest_piece({x, out}), [&]<class Piece>() {
        place_rows<Piece>(cuda::pieces<const Piece>(x), list.data(), cuda::pieces<Piece>(out), context);
    });
}

void on_cuda::sum_rows(ConstTensorRef x, std::span<const index_t> offsets,
                       std::span<const std::int32_t> sources, Write write, TensorRef out,
                       const Context& context) {
    const cuda::HostList<index_t> edges(offsets, context);
    const cuda::HostList<std::int32_t> list(sources, context);
    const bool adds = write == Write::add;
    dispatch_dtype(x.dtype(), [&]<class In>() {
        if (out.dtype() != x.dtype()) {
            sum<In, float>({cuda::view<const In>(x), edges.data(), list.data(), adds, cuda::view<float>(out)},
                           context);
        } else if (cuda::widest_piece({x, out}) == cuda::kPackBytes) {
            sum_packs<In>({cuda::pieces<const cuda::Pack<In>>(x), edges.data(), list.data(), adds,
                           cuda::pieces<cuda::Pack<In>>(out)},
                          context);
        } else {
            sum<In, In>({cuda::view<const In>(x), edges.data(), list.data(), adds, cuda::view<In>(out)},
                        context);
        }
    });
}

}  // namespace sy::ops
