#include <algorithm>
#include <cmath>

#include "kernels/core/simd.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"

namespace sy::ops {
namespace {

/// @return the row's loss; the row becomes its gradient when scale is not 0
SY_MULTIVERSION float xent_row(float* row, index_t count, std::int32_t target, float scale) {
    simd::f32x16 highest = simd::splat(-__builtin_inff());
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) highest = simd::max(highest, simd::load(row + i));
    if (i < count) highest = simd::max(highest, simd::load_part(row + i, count - i, -__builtin_inff()));
    const float largest = simd::max_lane(highest);
    simd::f32x16 sums{};
    for (i = 0; i + simd::kLanes <= count; i += simd::kLanes)
        sums += simd::exp(simd::load(row + i) - largest);
    if (i < count) sums += simd::exp(simd::load_part(row + i, count - i, -__builtin_inff()) - largest);
    const float denominator = simd::sum(sums);
    const float loss = target < 0 ? 0.0F : largest + std::log(denominator) - row[target];
    if (scale == 0.0F) return loss;
    const float factor = target < 0 ? 0.0F : scale / denominator;
    simd::for_lanes(
        count, [&](index_t at, auto load, auto store) __attribute__((always_inline)) {
            store(row + at, simd::exp(load(row + at) - largest) * factor);
        });
    if (target >= 0) row[target] -= scale;
    return loss;
}

}  // namespace

void softmax_xent(MatrixView<float> logits, std::span<const std::int32_t> target, float scale,
                  std::span<float> loss, const Context& context) {
    SY_REQUIRE(static_cast<index_t>(target.size()) == logits.rows && loss.size() == target.size(),
               "softmax_xent: ", logits.rows, " rows, ", target.size(), " targets, ", loss.size(), " losses");
    for (std::size_t t = 0; t < target.size(); ++t) {
        if (target[t] < -1 || target[t] >= logits.cols) {
            throw ShapeError(
                concat("softmax_xent: target ", target[t], " at row ", t, " of ", logits.cols, " classes"));
        }
    }
    context.team.for_ranges(logits.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const auto at = static_cast<std::size_t>(t);
            loss[at] = xent_row(logits.row(t), logits.cols, target[at], scale);
        }
    });
}

void softmax_row(std::span<const float> logits, float temperature, std::span<float> probabilities) {
    SY_REQUIRE(temperature > 0.0F && !logits.empty() && logits.size() == probabilities.size(),
               "softmax_row: ", logits.size(), " logits at temperature ", temperature);
    const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    double sum = 0.0;
    for (const float logit : logits)
        sum += std::exp((static_cast<double>(logit) - largest) / static_cast<double>(temperature));
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double power =
            std::exp((static_cast<double>(logits[i]) - largest) / static_cast<double>(temperature));
        probabilities[i] = static_cast<float>(power / sum);
    }
}

}  // namespace sy::ops
