#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::ops {
namespace {

bool is(MatrixView<const float> view, const Chances& chances) {
    return view.rows == chances.logits.rows && view.cols == chances.logits.cols;
}

/// body(t, the chosen of t, the next best of t) on the threads.
template <class Body>
void for_tokens(const Chances& chances, const Context& context, const Body& body) {
    SY_FITS(is(chances.clean, chances) && is(chances.scale, chances) && chances.best.cols >= 2 &&
                chances.best.rows == chances.logits.rows,
            "chances: logits [", chances.logits.rows, ", ", chances.logits.cols, "], the highest [",
            chances.best.rows, ", ", chances.best.cols, "]");
    const Timed timed(context, OpKind::routing,
                      6.0 * static_cast<double>(chances.logits.rows * chances.logits.cols));
    context.team.for_ranges(chances.logits.rows, 64, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const std::span<const std::int32_t> best = chances.best.row_span(t);
            body(t, best.first(best.size() - 1), best.back());
        }
    });
}

}  // namespace

void chance_distances(const Chances& chances, MatrixView<float> distance, const Context& context) {
    SY_FITS(is(distance, chances), "chance_distances: into [", distance.rows, ", ", distance.cols, "]");
    for_tokens(chances, context, [&](index_t t, std::span<const std::int32_t> chosen, std::int32_t next) {
        const auto set = [&](index_t e, float threshold) {
            distance(t, e) = (chances.clean(t, e) - threshold) / chances.scale(t, e);
        };
        for (index_t e = 0; e < distance.cols; ++e) set(e, chances.logits(t, chosen.back()));
        for (const std::int32_t e : chosen) set(e, chances.logits(t, next));
    });
}

void chance_backward(const Chances& chances, std::span<const float> factor, MatrixView<const float> distance,
                     MatrixView<float> density, const ChanceGradients& gradients, const Context& context) {
    SY_FITS(is(distance, chances) && is(density, chances) && is(gradients.clean, chances) &&
                is(gradients.logits, chances) && is(gradients.scale, chances) &&
                static_cast<index_t>(factor.size()) == distance.cols,
            "chance_backward: distances [", distance.rows, ", ", distance.cols, "] with ", factor.size(),
            " factors");
    for_tokens(chances, context, [&](index_t t, std::span<const std::int32_t> chosen, std::int32_t next) {
        float total = 0.0F;
        for (index_t e = 0; e < distance.cols; ++e) {
            density(t, e) *= factor[static_cast<std::size_t>(e)] / chances.scale(t, e);
            gradients.clean(t, e) += density(t, e);
            gradients.scale(t, e) -= density(t, e) * distance(t, e);
            total += density(t, e);
        }
        float of_chosen = 0.0F;
        for (const std::int32_t e : chosen) of_chosen += density(t, e);
        gradients.logits(t, next) -= of_chosen;
        gradients.logits(t, chosen.back()) -= total - of_chosen;
    });
}

}  // namespace sy::ops
