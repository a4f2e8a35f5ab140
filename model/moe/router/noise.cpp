#include "model/moe/router/noise.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/random/random.hpp"

namespace sy::model {
namespace {

template <class Body>
void for_tokens(index_t tokens, const Context& context, const Body& body) {
    context.team.for_ranges(tokens, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) body(t);
    });
}

/// Of the uniform draws of an element, -log(-log u).
float gumbel(const RandomKey& key, index_t element) {
    const double u = static_cast<double>(uniform(key, static_cast<std::uint64_t>(element)));
    return static_cast<float>(-std::log(-std::log(u)));
}

/// Without overflow, and exact where e^x vanishes beside 1.
float softplus(float x) {
    return std::max(x, 0.0F) + std::log1p(std::exp(-std::fabs(x)));
}

}  // namespace

void add_noise(LogitNoise kind, float deviation, const RandomKey& key, index_t first_token,
               MatrixView<float> logits, const Context& context) {
    SY_REQUIRE(kind == LogitNoise::gaussian || kind == LogitNoise::gumbel,
               "router noise: a kind without parameters is wanted");
    if (kind == LogitNoise::gaussian) {
        Tensor noise(context.arena, DType::f32, {logits.rows, logits.cols});
        ops::fill_normal(key, first_token * logits.cols, deviation, noise.values<float>(), context);
        for_tokens(logits.rows, context, [&](index_t t) {
            const std::span<const float> row = std::as_const(noise).matrix<float>().row_span(t);
            std::ranges::transform(logits.row_span(t), row, logits.row(t), std::plus<float>());
        });
        return;
    }
    for_tokens(logits.rows, context, [&](index_t t) {
        for (index_t e = 0; e < logits.cols; ++e)
            logits(t, e) += deviation * gumbel(key, (first_token + t) * logits.cols + e);
    });
}

void add_learned_noise(const RandomKey& key, index_t first_token, MatrixView<float> raw,
                       MatrixView<float> noise, MatrixView<float> logits, const Context& context) {
    SY_REQUIRE(noise.is_contiguous(), "router noise: its rows must have no gaps");
    ops::fill_normal(key, first_token * noise.cols, 1.0F,
                     {noise.data, static_cast<std::size_t>(noise.rows * noise.cols)}, context);
    for_tokens(logits.rows, context, [&](index_t t) {
        for (index_t e = 0; e < logits.cols; ++e) {
            raw(t, e) = softplus(raw(t, e)) + kNoiseFloor;
            logits(t, e) += noise(t, e) * raw(t, e);
        }
    });
}

void learned_noise_backward(const Routing& routing, MatrixView<const float> dlogits,
                            MatrixView<const float> dscale, MatrixView<float> draw, const Context& context) {
    const MatrixView<const float> noise = routing.noise.matrix<float>();
    const MatrixView<const float> scale = routing.noise_scale.matrix<float>();
    for_tokens(draw.rows, context, [&](index_t t) {
        for (index_t e = 0; e < draw.cols; ++e) {
            const float direct = dscale.data == nullptr ? 0.0F : dscale(t, e);
            const float slope = -std::expm1(-(scale(t, e) - kNoiseFloor));
            draw(t, e) = (dlogits(t, e) * noise(t, e) + direct) * slope;
        }
    });
}

Tensor draw_second(const Routing& routing, double scale, const RandomKey& key, index_t first_token,
                   const Context& context) {
    const MatrixView<const std::int32_t> expert = routing.expert.matrix<std::int32_t>();
    const MatrixView<const float> weight = routing.weight.matrix<float>();
    SY_REQUIRE(expert.cols == 2, "random second choice: ", expert.cols, " choices a token");
    Tensor sent(context.arena, DType::i32, routing.expert.shape());
    const MatrixView<std::int32_t> out = sent.matrix<std::int32_t>();
    for (index_t t = 0; t < expert.rows; ++t) {
        const double chance = 2.0 * static_cast<double>(weight(t, 1)) / scale;
        const bool goes =
            static_cast<double>(uniform(key, static_cast<std::uint64_t>(first_token + t))) < chance;
        out(t, 0) = expert(t, 0);
        out(t, 1) = goes ? expert(t, 1) : kNoExpert;
    }
    return sent;
}

void round_to_bf16(MatrixView<float> values, const Context& context) {
    Tensor rounded(context.arena, DType::bf16, {values.rows, values.cols});
    ops::cast(values, rounded.matrix<bf16>(), context);
    ops::cast(std::as_const(rounded).matrix<bf16>(), values, context);
}

}  // namespace sy::model
