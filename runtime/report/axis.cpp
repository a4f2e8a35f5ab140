#include "runtime/report/axis.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/report/markup.hpp"

namespace sy::runtime {
namespace {

/// Beyond, a range of doubles may have no length that is one.
constexpr double kLargest = 1e300;
constexpr double kSmallest = 1e-300;
constexpr double kMostTicks = 5.0;

bool can_show(Scale scale, double value) {
    if (!std::isfinite(value) || std::abs(value) > kLargest) return false;
    return scale == Scale::linear || value >= kSmallest;
}

double scaled(Scale scale, double value) {
    if (scale == Scale::log2) return std::log2(value);
    if (scale == Scale::log10) return std::log10(value);
    return value;
}

struct ValueRange {
    double low;
    double high;
};

/// The range of the values that can be shown; [0, 1], or a decade, without any.
ValueRange range_of(Scale scale, std::span<const double> values) {
    ValueRange range{kLargest, -kLargest};
    for (const double value : values) {
        if (!can_show(scale, value)) continue;
        range.low = std::min(range.low, value);
        range.high = std::max(range.high, value);
    }
    if (range.low > range.high) return scale == Scale::linear ? ValueRange{0.0, 1.0} : ValueRange{1.0, 10.0};
    return range;
}

/// A range of some length around values that are all the same.
ValueRange widened(Scale scale, ValueRange range) {
    if (scale != Scale::linear)
        return range.high / range.low > 1.0 + 1e-9 ? range : ValueRange{range.low / 2.0, range.high * 2.0};
    const double size = std::max(std::abs(range.low), std::abs(range.high));
    if (range.high - range.low > std::max(1e-9 * size, kSmallest)) return range;
    if (size < kSmallest) return {0.0, 1.0};
    return {range.low - 0.1 * size, range.high + 0.1 * size};
}

/// 1, 2 or 5 times a power of ten, so that the range has at most so many steps and a bit.
double tidy_step(double length) {
    const double rough = length / kMostTicks;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor * power >= rough * (1.0 - 1e-9)) return factor * power;
    }
    return 10.0 * power;
}

/// All ticks of an axis in the same unit and with as many decimals.
std::vector<Tick> labelled(const std::vector<double>& values, double step) {
    double size = 0.0;
    for (const double value : values) size = std::max(size, std::abs(value));
    struct Unit {
        double factor;
        const char* suffix;
    };
    constexpr std::array kUnits{Unit{1.0, ""}, Unit{1e3, "k"}, Unit{1e6, "M"}, Unit{1e9, "G"},
                                Unit{1e12, "T"}};
    std::vector<Tick> ticks;
    if (size >= 1e15 || size < 1e-3) {
        for (const double value : values)
            ticks.push_back({value, std::abs(value) < 0.5 * step ? "0" : short_number(value)});
        return ticks;
    }
    Unit unit = kUnits[0];
    for (const Unit& larger : kUnits) {
        const double least = larger.factor == 1e3 ? 1e4 : larger.factor;  // 5000 stays whole
        if (larger.factor == 1.0 || size >= least) unit = larger;
    }
    const int decimals =
        std::clamp(-static_cast<int>(std::floor(std::log10(step / unit.factor) + 1e-9)), 0, 12);
    for (const double value : values) {
        std::string label = fixed_text(value / unit.factor, decimals);
        ticks.push_back({value, std::abs(value) < 0.5 * step ? "0" : label + unit.suffix});
    }
    return ticks;
}

std::vector<Tick> linear_ticks(double low, double high, double step) {
    std::vector<double> values;
    const double slack = 1e-6 * step;
    for (double i = std::ceil((low - slack) / step); i * step <= high + slack; i += 1.0)
        values.push_back(i * step);
    return labelled(values, step);
}

/// Powers of the base, as many as there is room for. @param low, high logarithms
std::vector<Tick> power_ticks(Scale scale, double low, double high) {
    const double base = scale == Scale::log2 ? 2.0 : 10.0;
    const double first = std::ceil(low - 1e-6);
    const double last = std::floor(high + 1e-6);
    const double step = std::max(1.0, std::ceil((last - first) / (scale == Scale::log2 ? 8.0 : 6.0)));
    std::vector<Tick> ticks;
    for (double power = first; power <= last; power += step) {
        const double value = std::pow(base, power);
        const bool plain = value >= 1e-3 && value < 1e5;
        std::string label = plain && scale == Scale::log2 ? coordinate(value) : short_number(value);
        if (!plain) label = (scale == Scale::log2 ? "2^" : "1e") + fixed_text(power, 0);
        // Two decimals do not tell 1/8 from 0.12.
        if (plain && value < 1.0) label = short_number(value);
        ticks.push_back({value, label});
    }
    return ticks;
}

/// 1, 2 and 5 of each decade, for a range of few.
std::vector<Tick> decade_ticks(double low, double high) {
    std::vector<Tick> ticks;
    for (double power = std::floor(low); power <= high + 1e-6; power += 1.0) {
        for (const double factor : {1.0, 2.0, 5.0}) {
            const double value = factor * std::pow(10.0, power);
            const double place = std::log10(value);
            if (place >= low - 1e-6 && place <= high + 1e-6) ticks.push_back({value, short_number(value)});
        }
    }
    return ticks;
}

/// @param low, high  of the scaled value
std::vector<Tick> ticks_between(Scale scale, double low, double high) {
    if (scale == Scale::linear) return linear_ticks(low, high, tidy_step(high - low));
    std::vector<Tick> ticks =
        scale == Scale::log10 && high - low < 2.0 ? decade_ticks(low, high) : power_ticks(scale, low, high);
    if (ticks.size() > 1) return ticks;
    // Within less than a power: as on a linear axis.
    const double from = scale == Scale::log2 ? std::exp2(low) : std::pow(10.0, low);
    const double to = scale == Scale::log2 ? std::exp2(high) : std::pow(10.0, high);
    return linear_ticks(from, to, tidy_step(to - from));
}

}  // namespace

PlacedAxis::PlacedAxis(const Axis& axis, std::span<const double> values, Ends ends, double from, double to)
    : scale_(axis.scale), from_(from), to_(to) {
    ValueRange range = range_of(scale_, values);
    if (axis.low && can_show(scale_, *axis.low)) range.low = *axis.low;
    if (axis.high && can_show(scale_, *axis.high)) range.high = *axis.high;
    if (range.high < range.low) range.high = range.low;
    range = widened(scale_, range);
    low_ = scaled(scale_, range.low);
    high_ = scaled(scale_, range.high);
    if (scale_ == Scale::linear && ends == Ends::ticks) {
        const double step = tidy_step(high_ - low_);
        if (!axis.low) low_ = std::floor(low_ / step + 1e-6) * step;
        if (!axis.high) high_ = std::ceil(high_ / step - 1e-6) * step;
    } else if (scale_ != Scale::linear) {
        // Points at the very edge would be half outside.
        const double margin = 0.03 * (high_ - low_);
        if (!axis.low) low_ -= margin;
        if (!axis.high) high_ += margin;
    }
    ticks_ = ticks_between(scale_, low_, high_);
}

bool PlacedAxis::has(double value) const {
    return can_show(scale_, value);
}

double PlacedAxis::place(double value) const {
    return from_ + (to_ - from_) * (scaled(scale_, value) - low_) / (high_ - low_);
}

double PlacedAxis::share(double value) const {
    return std::clamp((scaled(scale_, value) - low_) / (high_ - low_), 0.0, 1.0);
}

}  // namespace sy::runtime
