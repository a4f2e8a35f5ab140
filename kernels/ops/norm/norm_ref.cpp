#include <cmath>

#include "kernels/ops/norm/norm.hpp"

namespace sy::ops::ref {
namespace {

double at(std::span<const float> values, index_t i) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
}

struct Row {
    double mean = 0.0;
    double rstd = 0.0;
};

Row statistics_of(const Norm& rule, MatrixView<const float> x, index_t row) {
    const std::span<const float> values = x.row_span(row);
    const auto width = static_cast<double>(x.cols);
    Row result;
    if (rule.kind == NormKind::layer) {
        for (const float value : values) result.mean += static_cast<double>(value) / width;
    }
    double squares = 0.0;
    for (const float value : values) {
        const double centred = static_cast<double>(value) - result.mean;
        squares += centred * centred;
    }
    result.rstd = 1.0 / std::sqrt(squares / width + static_cast<double>(rule.eps));
    return result;
}

}  // namespace

void norm(const Norm& rule, MatrixView<const float> x, MatrixView<float> y) {
    for (index_t t = 0; t < x.rows; ++t) {
        const Row row = statistics_of(rule, x, t);
        for (index_t i = 0; i < x.cols; ++i) {
            const double normed = (static_cast<double>(x(t, i)) - row.mean) * row.rstd;
            const double bias = rule.bias.empty() ? 0.0 : at(rule.bias, i);
            y(t, i) = static_cast<float>(normed * at(rule.gain, i) + bias);
        }
    }
}

void norm_backward(const Norm& rule, const NormBackward& in, MatrixView<float> dx, std::span<double> dgain,
                   std::span<double> dbias) {
    const auto width = static_cast<double>(in.x.cols);
    for (index_t t = 0; t < in.x.rows; ++t) {
        const Row row = statistics_of(rule, in.x, t);
        const auto normed = [&](index_t i) {
            return (static_cast<double>(in.x(t, i)) - row.mean) * row.rstd;
        };
        const auto slope = [&](index_t i) { return static_cast<double>(in.dy(t, i)) * at(rule.gain, i); };
        double mean_slope = 0.0;
        double mean_product = 0.0;
        for (index_t i = 0; i < in.x.cols; ++i) {
            if (rule.kind == NormKind::layer) mean_slope += slope(i) / width;
            mean_product += slope(i) * normed(i) / width;
            dgain[static_cast<std::size_t>(i)] += static_cast<double>(in.dy(t, i)) * normed(i);
            if (!dbias.empty()) dbias[static_cast<std::size_t>(i)] += static_cast<double>(in.dy(t, i));
        }
        for (index_t i = 0; i < in.x.cols; ++i) {
            const double before = in.write == Write::add ? static_cast<double>(dx(t, i)) : 0.0;
            dx(t, i) =
                static_cast<float>(before + row.rstd * (slope(i) - mean_slope - normed(i) * mean_product));
        }
    }
}

}  // namespace sy::ops::ref
