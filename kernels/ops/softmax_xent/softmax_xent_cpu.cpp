#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

SY_INLINE float largest_of_row(const float* row, index_t count) {
    const index_t whole = count - count % simd::kLanes;
    simd::f32x16 highest = simd::splat(-kInfinity);
    for (index_t i = 0; i < whole; i += simd::kLanes) highest = simd::max(highest, simd::load(row + i));
    if (whole < count) highest = simd::max(highest, simd::load_part(row + whole, count - whole, -kInfinity));
    return simd::max_lane(highest);
}

/// @return the sum of `powers` = exp(row - largest), element i in lane i mod 16; powers may be the row, or null
SY_INLINE float exponentials_of_row(const float* row, index_t count, float largest, float* powers) {
    const index_t whole = count - count % simd::kLanes;
    simd::f32x16 sums{};
    for (index_t i = 0; i < whole; i += simd::kLanes) {
        const simd::f32x16 power = simd::exp(simd::load(row + i) - largest);
        if (powers != nullptr) simd::store(powers + i, power);
        sums += power;
    }
    if (whole < count) {
        const index_t rest = count - whole;
        const simd::f32x16 power = simd::exp(simd::load_part(row + whole, rest, -kInfinity) - largest);
        if (powers != nullptr) simd::store_part(powers + whole, power, rest);
        sums += power;
    }
    return simd::sum(sums);
}

struct RowLoss {
    float loss;
    float lse;
};

/// A row that counts: its loss; the row becomes its gradient when scale is not 0.
RowLoss xent_row(float* row, index_t count, std::int32_t target, float scale, float z_scale) {
    return simd::for_isa([=]() SY_BODY {
        const float largest = largest_of_row(row, count);
        // Differences first: logits far from 0 would swallow the logarithm.
        const float distance = largest - row[target];
        const float denominator = exponentials_of_row(row, count, largest, scale == 0.0F ? nullptr : row);
        const double log_denominator = std::log(static_cast<double>(denominator));
        const auto lse = static_cast<float>(static_cast<double>(largest) + log_denominator);
        if (scale != 0.0F) {
            const float weight = z_scale == 0.0F ? scale : scale + 2.0F * z_scale * lse;
            const float factor = weight / denominator;
            for (index_t i = 0; i < count; ++i) row[i] *= factor;
            row[target] -= scale;
        }
        return RowLoss{distance + static_cast<float>(log_denominator), lse};
    });
}

}  // namespace

void on_cpu::softmax_xent(TensorRef rows, std::span<const std::int32_t> target, float scale, TensorRef losses,
                          const OutputZLoss& z, const Context& context) {
    const auto logits = host<float>(rows);
    const auto loss = host_values<float>(losses);
    const auto lse = host_values<float>(z.lse);
    cpu(context).team().for_ranges(logits.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const auto at = static_cast<std::size_t>(t);
            if (target[at] >= 0) {
                const RowLoss row = xent_row(logits.row(t), logits.cols, target[at], scale, z.scale);
                loss[at] = row.loss;
                if (!lse.empty()) lse[at] = row.lse;
            } else {
                loss[at] = 0.0F;
                if (!lse.empty()) lse[at] = 0.0F;
                if (scale != 0.0F) std::fill_n(logits.row(t), logits.cols, 0.0F);
            }
        }
    });
}

void softmax_row(std::span<const float> logits, double temperature, std::span<float> probabilities) {
    SY_FITS(!logits.empty() && logits.size() == probabilities.size(), "softmax_row: ", logits.size(),
            " logits for ", probabilities.size(), " probabilities");
    SY_REQUIRE(temperature > 0.0, "softmax_row: temperature ", temperature);
    const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp((static_cast<double>(logit) - largest) / temperature);
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double power = std::exp((static_cast<double>(logits[i]) - largest) / temperature);
        probabilities[i] = static_cast<float>(power / sum);
    }
}

}  // namespace sy::ops
