#include <algorithm>
#include <limits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/gate/gate.hpp"

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

void gate_limit_groups(MatrixView<const float> scores, const GroupLimit& rule, MatrixView<float> open,
                       const Context& context) {
    SY_FITS(rule.groups >= 1 && scores.cols % rule.groups == 0 && rule.limit >= 1 &&
                rule.limit <= rule.groups && rule.counted >= 1 && rule.counted <= scores.cols / rule.groups &&
                open.rows == scores.rows && open.cols == scores.cols,
            "gate_limit_groups: ", rule.limit, " of ", rule.groups, " groups by their best ", rule.counted,
            " of scores [", scores.rows, ", ", scores.cols, "] into [", open.rows, ", ", open.cols, "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows * scores.cols));
    constexpr index_t kBlock = 64;
    Tensor memory(context.arena, DType::f32, {context.team.size(), rule.groups + rule.counted});
    const MatrixView<float> scratch = memory.matrix<float>();
    context.team.for_tasks(ceil_div(scores.rows, kBlock), [&](index_t block, int thread_idx) {
        const Range rows{block * kBlock, std::min((block + 1) * kBlock, scores.rows)};
        limit_rows(scores, rule, rows, scratch.row(thread_idx), open);
    });
}

}  // namespace sy::ops
