#include "kernels/ops/embedding/embedding.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/gradient.hpp"
#include "kernels/cuda/host_list.hpp"

namespace sy::ops {
namespace {

template <class In>
void widen_rows(cuda::Matrix<const In> table, const std::int32_t* ids, cuda::Matrix<float> out,
                const Context& context) {
    cuda::for_matrix(context, out.rows, out.cols, [=] __device__(index_t t, index_t h) {
        out(t, h) = static_cast<float>(table(ids[t], h));
    });
}

template <class In>
void add_rows(cuda::Matrix<const In> table, const std::int32_t* positions, cuda::Matrix<float> x,
              const Context& context) {
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t h) {
        x(t, h) += static_cast<float>(table(positions[t], h));
    });
}

/// Places of equal ids together, each group in ascending order: what is added to one row of the table.
struct PlacesById {
    std::vector<std::int32_t> place;
    std::vector<index_t> offsets;  ///< of groups in `place`
    std::vector<std::int32_t> id;  ///< of each group

    explicit PlacesById(std::span<const std::int32_t> ids) : place(ids.size()), offsets{0} {
        const auto id_of = [&](std::int32_t t) { return ids[static_cast<std::size_t>(t)]; };
        std::iota(place.begin(), place.end(), 0);
        std::ranges::stable_sort(place, {}, id_of);
        for (std::size_t i = 0; i < place.size(); ++i) {
            if (i == 0 || id_of(place[i]) != id.back()) id.push_back(id_of(place[i]));
            if (i + 1 == place.size() || id_of(place[i + 1]) != id.back())
                offsets.push_back(static_cast<index_t>(i) + 1);
        }
    }
};

}  // namespace

void on_cuda::embedding(ConstTensorRef table, List<std::int32_t> ids, TensorRef out, const Context& context) {
    const cuda::HostList<std::int32_t> list(ids, context);
    dispatch_dtype(table.dtype(), [&]<class In>() {
        widen_rows<In>(cuda::view<const In>(table), list.data(), cuda::view<float>(out), context);
    });
}

void on_cuda::add_positions(ConstTensorRef table, List<std::int32_t> positions, TensorRef x,
                            const Context& context) {
    const cuda::HostList<std::int32_t> list(positions, context);
    dispatch_dtype(table.dtype(), [&]<class In>() {
        add_rows<In>(cuda::view<const In>(table), list.data(), cuda::view<float>(x), context);
    });
}

void on_cuda::sine_table(TensorRef out, const Context& context) {
    const auto table = cuda::view<float>(out);
    cuda::for_matrix(context, table.rows, table.cols, [=] __device__(index_t p, index_t col) {
        const bool even = col % 2 == 0;
        const double share = static_cast<double>(even ? col : col - 1) / static_cast<double>(table.cols);
        const double angle = static_cast<double>(p) * pow(10000.0, -share);
        table(p, col) = static_cast<float>(even ? sin(angle) : cos(angle));
    });
}

void on_cuda::embedding_backward(std::span<const std::int32_t> ids, ConstTensorRef out_gradient,
                                 GradientRef gradient, const Context& context) {
    const PlacesById groups(ids);
    const cuda::HostList<std::int32_t> places(groups.place, context);
    const cuda::HostList<index_t> edges(groups.offsets, context);
    const cuda::HostList<std::int32_t> group_ids(groups.id, context);
    const std::int32_t* const place = places.data();
    const index_t* const offsets = edges.data();
    const std::int32_t* const id = group_ids.data();
    const auto dout = cuda::view<const float>(out_gradient);
    const cuda::Gradient sums(gradient);
    cuda::for_matrix(context, static_cast<index_t>(groups.id.size()), dout.cols,
                     [=] __device__(index_t group, index_t h) {
                         for (index_t i = offsets[group]; i < offsets[group + 1]; ++i)
                             sums.add(id[group] * dout.cols + h, dout(place[i], h));
                     });
}

}  // namespace sy::ops
