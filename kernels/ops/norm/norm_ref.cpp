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
    const auto gain = host_values<const float>(rule.gain);
    const auto bias = host_values<const float>(rule.bias);
    for (index_t t = 0; t < x.rows; ++t) {
        const Row row = statistics_of(rule, x, t);
        for (index_t i = 0; i < x.cols; ++i) {
            const double normed = (static_cast<double>(x(t, i)) - row.mean) * row.rstd;
            const double shift = bias.empty() ? 0.0 : at(bias, i);
            y(t, i) = static_cast<float>(normed * at(gain, i) + shift);
        }
    }
}

void norm_backward(const Norm& rule, const NormBackward& in, MatrixView<float> dx, std::span<double> dgain,
                   std::span<double> dbias) {
    const auto x = host<const float>(in.x);
    const auto dy = host<const float>(in.dy);
    const auto gain = host_values<const float>(rule.gain);
    const auto width = static_cast<double>(x.cols);
    for (index_t t = 0; t < x.rows; ++t) {
        const Row row = statistics_of(rule, x, t);
        const auto normed = [&](index_t i) { return (static_cast<double>(x(t, i)) - row.mean) * row.rstd; };
        const auto slope = [&](index_t i) { return static_cast<double>(dy(t, i)) * at(gain, i); };
        double mean_slope = 0.0;
        double mean_product = 0.0;
        for (index_t i = 0; i < x.cols; ++i) {
            if (rule.kind == NormKind::layer) mean_slope += slope(i) / width;
            mean_product += slope(i) * normed(i) / width;
            dgain[static_cast<std::size_t>(i)] += static_cast<double>(dy(t, i)) * normed(i);
            if (!dbias.empty()) dbias[static_cast<std::size_t>(i)] += static_cast<double>(dy(t, i));
        }
        for (index_t i = 0; i < x.cols; ++i) {
            const double before = in.write == Write::add ? static_cast<double>(dx(t, i)) : 0.0;
            dx(t, i) =
                static_cast<float>(before + row.rstd * (slope(i) - mean_slope - normed(i) * mean_product));
        }
    }
}

}  // namespace sy::ops::ref
