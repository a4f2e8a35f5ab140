#include "kernels/ops/reduce/reduce.hpp"

#include "kernels/core/gradient_ref.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::row_sums_of_squares(ConstTensorRef rows, TensorRef of_rows, const Context& context) {
    const auto x = cuda::view<const float>(rows);
    double* const sums = cuda::values<double>(of_rows);
    // The order of the CPU: element i goes to partial sum i mod 32, then the tree of a warp.
    cuda::for_rows(context, x.rows, cuda::kWarp, [=] __device__(index_t t, const cuda::Team& team) {
        double own = 0.0;
        for (index_t i = team.thread; i < x.cols; i += cuda::kWarp) {
            const auto value = static_cast<double>(x(t, i));
            own += value * value;
        }
        const double total = team.sum(own);
        if (team.thread == 0) sums[t] = total;
    });
}

void on_cuda::add(ConstTensorRef first, ConstTensorRef second, TensorRef total, const Context& context) {
    const auto x = cuda::view<const float>(first);
    const auto z = cuda::view<const float>(second);
    const auto y = cuda::view<float>(total);
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = x(t, i) + z(t, i); });
}

void on_cuda::scale(float factor, ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = factor * x(t, i); });
}

void on_cuda::scale_rows(ConstTensorRef factors, ConstTensorRef from, TensorRef to, const Context& context) {
    const float* const factor = cuda::values<const float>(factors);
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = factor[t] * x(t, i); });
}

namespace {

/// sum = or += addend; integers modulo 2^64.
template <class T>
void add_one(const T* addend, T* sum, index_t count, const Context& context) {
    cuda::for_elements(context, count, [=] __device__(index_t i) { sum[i] = sum[i] + addend[i]; });
}

template <class T>
void add_all(std::span<const ConstTensorRef> addends, TensorRef sum, const Context& context) {
    const index_t count = sum.num_elements();
    T* const total = cuda::values<T>(sum);
    const bool in_place = cuda::values<const T>(addends[0]) == total;
    // The sum may be one of the later addends: then the others are added up aside.
    Tensor aside;
    T* target = total;
    for (std::size_t i = 1; i < addends.size(); ++i) {
        if (cuda::values<const T>(addends[i]) != total) continue;
        aside = Tensor(context.device, sum.dtype(), {sum.rows(), sum.cols()});
        target = cuda::values<T>(aside.ref());
    }
    if (target != total || !in_place) {
        const T* const first = cuda::values<const T>(addends[0]);
        cuda::for_elements(context, count, [=] __device__(index_t i) { target[i] = first[i]; });
    }
    for (const ConstTensorRef& addend : addends.subspan(1))
        add_one<T>(cuda::values<const T>(addend), target, count, context);
    if (target != total)
        cuda::for_elements(context, count, [=] __device__(index_t i) { total[i] = target[i]; });
}

}  // namespace

void on_cuda::add_in_order(std::span<const ConstTensorRef> addends, TensorRef sum, const Context& context) {
    if (sum.dtype() == DType::i64) {
        add_all<std::int64_t>(addends, sum, context);
    } else {
        add_all<float>(addends, sum, context);
    }
}

void on_cuda::round_fixed_point(ConstTensorRef sums, TensorRef values, const Context& context) {
    const auto* const from = cuda::values<const std::int64_t>(sums);
    float* const to = cuda::values<float>(values);
    cuda::for_elements(context, values.num_elements(), [=] __device__(index_t i) {
        to[i] = static_cast<float>(from[i]) * static_cast<float>(kGradientUnit);
    });
}

}  // namespace sy::ops
