#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::ops {
namespace {

/// The elements of Chances. Of the K + 1 best of a token the first K are chosen.
struct ChanceOperands {
    cuda::Matrix<const float> logits;
    cuda::Matrix<const float> clean;
    cuda::Matrix<const float> scale;
    cuda::Matrix<const std::int32_t> best;

    explicit ChanceOperands(const Chances& in)
        : logits(cuda::view<const float>(in.logits)),
          clean(cuda::view<const float>(in.clean)),
          scale(cuda::view<const float>(in.scale)),
          best(cuda::view<const std::int32_t>(in.best)) {}

    __device__ index_t num_chosen() const { return best.cols - 1; }
    __device__ bool is_chosen(index_t t, index_t e) const {
        for (index_t j = 0; j < num_chosen(); ++j) {
            if (best(t, j) == e) return true;
        }
        return false;
    }
    __device__ std::int32_t last_chosen(index_t t) const { return best(t, num_chosen() - 1); }
    __device__ std::int32_t next(index_t t) const { return best(t, num_chosen()); }
};

}  // namespace

void on_cuda::chance_distances(const Chances& in, TensorRef distance, const Context& context) {
    const ChanceOperands chances(in);
    const auto distance_te = cuda::view<float>(distance);
    cuda::for_matrix(context, distance_te.rows, distance_te.cols, [=] __device__(index_t t, index_t e) {
        const std::int32_t bound = chances.is_chosen(t, e) ? chances.next(t) : chances.last_chosen(t);
        distance_te(t, e) = (chances.clean(t, e) - chances.logits(t, bound)) / chances.scale(t, e);
    });
}

void on_cuda::chance_backward(const Chances& in, std::span<const float> factors, ConstTensorRef distance,
                              TensorRef density, const ChanceGradients& gradients, const Context& context) {
    const ChanceOperands chances(in);
    const cuda::HostList<float> list(factors, context);
    const float* const factor = list.data();
    const auto distance_te = cuda::view<const float>(distance);
    const auto density_te = cuda::view<float>(density);
    const auto dclean_te = cuda::view<float>(gradients.clean);
    const auto dlogits_te = cuda::view<float>(gradients.logits);
    const auto dscale_te = cuda::view<float>(gradients.scale);
    cuda::for_rows(context, distance_te.rows, distance_te.cols,
                   [=] __device__(index_t t, const cuda::Team& team) {
                       float all = 0.0F;
                       float chosen = 0.0F;
                       for (index_t e = team.thread; e < distance_te.cols; e += team.size) {
                           const float weighted = density_te(t, e) * (factor[e] / chances.scale(t, e));
                           density_te(t, e) = weighted;
                           dclean_te(t, e) += weighted;
                           dscale_te(t, e) -= weighted * distance_te(t, e);
                           all += weighted;
                           chosen += chances.is_chosen(t, e) ? weighted : 0.0F;
                       }
                       const float total = team.sum(all);
                       const float of_chosen = team.sum(chosen);
                       if (team.thread != 0) return;
                       dlogits_te(t, chances.next(t)) -= of_chosen;
                       dlogits_te(t, chances.last_chosen(t)) -= total - of_chosen;
                   });
}

}  // namespace sy::ops
