#include <algorithm>
#include <limits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

constexpr float kClosed = -std::numeric_limits<float>::infinity();

/// Sum of the highest `counted` of `size` scores, from the highest down. @param highest  [counted] scratch
SY_INLINE float group_score(const float* scores, index_t size, index_t counted, float* highest) {
    if (counted == 1) {
        float best = scores[0];
        for (index_t e = 1; e < size; ++e) best = scores[e] > best ? scores[e] : best;
        return best;
    }
    std::fill_n(highest, counted, kClosed);
    for (index_t e = 0; e < size; ++e) {
        float value = scores[e];
        for (index_t j = 0; j < counted; ++j) {
            const float kept = highest[j];
            highest[j] = value > kept ? value : kept;
            value = value > kept ? kept : value;
        }
    }
    float sum = 0.0F;
    for (index_t j = 0; j < counted; ++j) sum += highest[j];
    return sum;
}

/// @param scratch  [groups + counted]
void limit_rows(MatrixView<const float> scores, const GroupLimit& rule, Range rows, float* scratch,
                MatrixView<float> open) {
    simd::for_isa([=, &rule]() SY_BODY {
        const index_t size = scores.cols / rule.groups;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const from = scores.data + t * scores.stride;
            float* const to = open.data + t * open.stride;
            for (index_t g = 0; g < rule.groups; ++g)
                scratch[g] = group_score(from + g * size, size, rule.counted, scratch + rule.groups);
            // A group stays open when fewer than `limit` groups stand before it; a NaN stands before none.
            for (index_t g = 0; g < rule.groups; ++g) {
                index_t before = 0;
                for (index_t other = 0; other < rule.groups; ++other) {
                    before +=
                        scratch[other] > scratch[g] || (scratch[other] == scratch[g] && other < g) ? 1 : 0;
                }
                const bool is_open = before < rule.limit;
                for (index_t e = g * size; e < (g + 1) * size; ++e) to[e] = is_open ? from[e] : kClosed;
            }
        }
    });
}

}  // namespace

void on_cpu::gate_limit_groups(ConstTensorRef scores, const GroupLimit& rule, TensorRef open,
                               const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto open_te = host<float>(open);
    constexpr index_t kBlock = 64;
    Tensor memory(context.device, DType::f32, {context.device.num_threads(), rule.groups + rule.counted});
    const auto scratch = host<float>(memory);
    cpu(context).team().for_tasks(ceil_div(scores_te.rows, kBlock), [&](index_t block, int thread_idx) {
        const Range rows{block * kBlock, std::min((block + 1) * kBlock, scores_te.rows)};
        limit_rows(scores_te, rule, rows, scratch.row(thread_idx), open_te);
    });
}

}  // namespace sy::ops
