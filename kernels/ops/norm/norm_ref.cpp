#include <cmath>

#include "kernels/ops/norm/norm.hpp"

namespace sy::ops::ref {
namespace {

double rstd_of(MatrixView<const float> x, index_t row, float eps) {
    double squares = 0.0;
    for (index_t i = 0; i < x.cols; ++i)
        squares += static_cast<double>(x(row, i)) * static_cast<double>(x(row, i));
    return 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + static_cast<double>(eps));
}

}  // namespace

void rms_norm(MatrixView<const float> x, std::span<const float> gain, float eps, MatrixView<float> y,
              std::span<float> rstd) {
    for (index_t t = 0; t < x.rows; ++t) {
        const double r = rstd_of(x, t, eps);
        for (index_t i = 0; i < x.cols; ++i) {
            y(t, i) = static_cast<float>(static_cast<double>(x(t, i)) * r *
                                         static_cast<double>(gain[static_cast<std::size_t>(i)]));
        }
        rstd[static_cast<std::size_t>(t)] = static_cast<float>(r);
    }
}

void rms_norm_backward(const RmsNormBackward& in, float eps, MatrixView<float> dx, std::span<double> dgain) {
    for (index_t t = 0; t < in.x.rows; ++t) {
        const double r = rstd_of(in.x, t, eps);
        double dot = 0.0;
        for (index_t i = 0; i < in.x.cols; ++i) {
            const auto c = static_cast<std::size_t>(i);
            const double x = static_cast<double>(in.x(t, i));
            const double dy = static_cast<double>(in.dy(t, i));
            dot += dy * static_cast<double>(in.gain[c]) * x;
            dgain[c] += dy * x * r;
        }
        for (index_t i = 0; i < in.x.cols; ++i) {
            const double direct = static_cast<double>(in.dy(t, i)) *
                                  static_cast<double>(in.gain[static_cast<std::size_t>(i)]) * r;
            const double shift =
                static_cast<double>(in.x(t, i)) * r * r * r * dot / static_cast<double>(in.x.cols);
            const double before = in.write == Write::add ? static_cast<double>(dx(t, i)) : 0.0;
            dx(t, i) = static_cast<float>(before + direct - shift);
        }
    }
}

}  // namespace sy::ops::ref
