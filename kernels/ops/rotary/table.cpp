#include <algorithm>
#include <cmath>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/rotary/rotary.hpp"

namespace sy::ops {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;

/// Llama 3.1: by wavelength.
double llama3_frequency(double frequency, const RotaryScaling& scaling) {
    const double rotations = static_cast<double>(scaling.original_positions) * frequency / kTwoPi;
    const double kept =
        (rotations - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency);
    const double share = std::clamp(kept, 0.0, 1.0);
    return share * frequency + (1.0 - share) * frequency / scaling.factor;
}

/// Pair, as a real number, that rotates so many times in the original context.
double yarn_pair(double rotations, const RotaryRule& rule) {
    const auto positions = static_cast<double>(rule.scaling.original_positions);
    return static_cast<double>(rule.rotary_dim) * std::log(positions / (rotations * kTwoPi)) /
           (2.0 * std::log(rule.theta));
}

/// Ramp from 0 at the pair of beta_fast to 1 at that of beta_slow, both rounded outward as the authors' code does.
double yarn_frequency(double frequency, index_t pair, const RotaryRule& rule) {
    const double first = std::max(std::floor(yarn_pair(rule.scaling.beta_fast, rule)), 0.0);
    const double last = std::min(std::ceil(yarn_pair(rule.scaling.beta_slow, rule)),
                                 static_cast<double>(rule.rotary_dim - 1));
    const double width = first == last ? 0.001 : last - first;
    const double stretched = std::clamp((static_cast<double>(pair) - first) / width, 0.0, 1.0);
    return frequency / rule.scaling.factor * stretched + frequency * (1.0 - stretched);
}

double sharpening(double weight, const RotaryScaling& scaling) {
    return 0.1 * weight * std::log(scaling.factor) + 1.0;
}

void check(const RotaryRule& rule) {
    const RotaryScaling& scaling = rule.scaling;
    SY_REQUIRE(rule.rotary_dim > 0 && rule.rotary_dim % 2 == 0 && rule.theta > 0.0,
               "rotary: ", rule.rotary_dim, " columns to rotate (must be even), theta ", rule.theta);
    if (scaling.stretch == RotaryStretch::none) return;
    SY_REQUIRE(scaling.factor >= 1.0 && std::isfinite(scaling.factor), "rotary: context stretched by ",
               scaling.factor, " (expected 1 or more)");
    SY_REQUIRE(scaling.stretch != RotaryStretch::ntk || rule.rotary_dim > 2,
               "rotary: ntk needs more than one pair");
    if (scaling.stretch == RotaryStretch::llama3) {
        SY_REQUIRE(scaling.original_positions > 0 && scaling.low_frequency > 0.0 &&
                       scaling.high_frequency > scaling.low_frequency,
                   "rotary: llama3 from ", scaling.original_positions, " positions, frequency factors ",
                   scaling.low_frequency, " and ", scaling.high_frequency);
    }
    if (scaling.stretch == RotaryStretch::yarn) {
        SY_REQUIRE(scaling.original_positions > 0 && scaling.beta_slow > 0.0 &&
                       scaling.beta_fast > scaling.beta_slow && rule.theta > 1.0 && scaling.mscale >= 0.0 &&
                       scaling.mscale_all_dims >= 0.0,
                   "rotary: yarn from ", scaling.original_positions, " positions, betas ", scaling.beta_fast,
                   " and ", scaling.beta_slow, ", theta ", rule.theta, ", mscale ", scaling.mscale, " and ",
                   scaling.mscale_all_dims);
    }
}

}  // namespace

std::vector<double> rotary_frequencies(const RotaryRule& rule) {
    check(rule);
    const RotaryScaling& scaling = rule.scaling;
    const auto width = static_cast<double>(rule.rotary_dim);
    double theta = rule.theta;
    if (scaling.stretch == RotaryStretch::ntk) theta *= std::pow(scaling.factor, width / (width - 2.0));
    std::vector<double> frequencies;
    for (index_t i = 0; i < rule.rotary_dim / 2; ++i) {
        double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / width);
        if (scaling.stretch == RotaryStretch::linear) frequency /= scaling.factor;
        if (scaling.stretch == RotaryStretch::llama3) frequency = llama3_frequency(frequency, scaling);
        if (scaling.stretch == RotaryStretch::yarn) frequency = yarn_frequency(frequency, i, rule);
        frequencies.push_back(frequency);
    }
    return frequencies;
}

RotaryTable::RotaryTable(index_t num_positions, const RotaryRule& rule)
    : num_positions_(num_positions), half_(rule.rotary_dim / 2), pairs_(rule.pairs) {
    const std::vector<double> frequencies = rotary_frequencies(rule);
    SY_REQUIRE(num_positions >= 0, "rotary: a table of ", num_positions, " positions");
    double size = 1.0;
    if (rule.scaling.stretch == RotaryStretch::yarn) {
        const double all_dims = sharpening(rule.scaling.mscale_all_dims, rule.scaling);
        size = sharpening(rule.scaling.mscale, rule.scaling) / all_dims;
        score_factor_ = all_dims * all_dims;
    }
    cos_.reserve(static_cast<std::size_t>(num_positions * half_));
    sin_.reserve(static_cast<std::size_t>(num_positions * half_));
    for (index_t position = 0; position < num_positions; ++position) {
        for (const double frequency : frequencies) {
            const double angle = static_cast<double>(position) * frequency;
            cos_.push_back(static_cast<float>(size * std::cos(angle)));
            sin_.push_back(static_cast<float>(size * std::sin(angle)));
        }
    }
}

void RotaryTable::upload(const Context& context) {
    copy_ = Tensor(context.device, DType::f32, {2 * num_positions_, half_});
    const TensorRef both = copy_;
    context.device.upload(HostRef(cosines()), both.rows_of({0, num_positions_}), context.stream);
    context.device.upload(HostRef(sines()), both.rows_of({num_positions_, 2 * num_positions_}),
                          context.stream);
}

ConstTensorRef RotaryTable::cosines() const {
    return MatrixView(cos_.data(), num_positions_, half_);
}

ConstTensorRef RotaryTable::sines() const {
    return MatrixView(sin_.data(), num_positions_, half_);
}

}  // namespace sy::ops
