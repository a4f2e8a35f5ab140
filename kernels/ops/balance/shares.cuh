#pragma once

#include "kernels/core/tensor.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops::on_gpu {

/// The share that a score of 1 would have in its row, for each row of sigmoid scores.
/// @return  [T] f64; empty for those of softmax, which are shares
inline Tensor share_units(Score kind, cuda::Matrix<const float> scores, const Context& context) {
    if (kind == Score::softmax) return {};
    Tensor units(context.device, DType::f64, {scores.rows});
    double* const unit = cuda::values<double>(units.ref());
    cuda::for_elements(context, scores.rows, [=] __device__(index_t t) {
        auto sum = static_cast<double>(kLeastScoreSum);
        for (index_t e = 0; e < scores.cols; ++e) sum += static_cast<double>(scores(t, e));
        unit[t] = 1.0 / sum;
    });
    return units;
}

/// [T]; null: all are 1
inline const double* first_unit(const Tensor& units) {
    return units.empty() ? nullptr : cuda::values<const double>(units.ref());
}

}  // namespace sy::ops::on_gpu
