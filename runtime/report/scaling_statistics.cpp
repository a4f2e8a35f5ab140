#include "runtime/report/scaling_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// The probability that a variable of Student's t distribution is between -t and t.
double student_t_between(double t, int degrees_of_freedom) {
    const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees_of_freedom)));
    const double cos_squared = std::cos(angle) * std::cos(angle);
    const bool odd = degrees_of_freedom % 2 == 1;
    // The first is sin for even degrees, sin cos for odd ones; each further one has two more powers of cos.
    double term = std::sin(angle) * (odd ? std::cos(angle) : 1.0);
    double sum = odd && degrees_of_freedom == 1 ? 0.0 : term;
    for (int power = odd ? 3 : 2; power <= degrees_of_freedom - 2; power += 2) {
        term *= cos_squared * (power - 1) / power;
        sum += term;
    }
    return odd ? 2.0 / std::numbers::pi * (angle + sum) : sum;
}

}  // namespace

double quantile(std::vector<double> values, double q) {
    SY_REQUIRE(!values.empty() && q >= 0.0 && q <= 1.0, "quantile ", q, " of ", values.size(), " values");
    std::ranges::sort(values);
    const double place = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above], place - static_cast<double>(below));
}

double median(std::vector<double> values) {
    return quantile(std::move(values), 0.5);
}

double student_t_quantile(double probability, int degrees_of_freedom) {
    SY_REQUIRE(probability >= 0.5 && probability < 1.0 && degrees_of_freedom >= 1,
               "Student's t: probability ", probability, " with ", degrees_of_freedom, " degrees of freedom");
    const double between = 2.0 * probability - 1.0;
    double low = 0.0;
    double high = 1.0;
    while (student_t_between(high, degrees_of_freedom) < between) high *= 2.0;
    for (double middle = 0.5 * high; low < middle && middle < high; middle = 0.5 * (low + high))
        (student_t_between(middle, degrees_of_freedom) < between ? low : high) = middle;
    return high;
}

Interval mean_interval(std::span<const double> values, double confidence) {
    SY_REQUIRE(!values.empty(), "the mean of no values");
    const auto count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    if (values.size() < 2) return {mean, std::numeric_limits<double>::quiet_NaN()};
    double squares = 0.0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const int degrees = static_cast<int>(values.size()) - 1;
    const double error_of_mean = std::sqrt(squares / degrees / count);
    return {mean, student_t_quantile(0.5 + 0.5 * confidence, degrees) * error_of_mean};
}

Interval quotient(const Interval& above, const Interval& below) {
    const double value = above.mean / below.mean;
    return {value,
            std::abs(value) * std::hypot(above.half_width / above.mean, below.half_width / below.mean)};
}

PopEfficiencies pop_efficiencies(double mean_useful, double max_useful, double elapsed) {
    return {mean_useful / elapsed, mean_useful / max_useful, max_useful / elapsed};
}

}  // namespace sy::runtime
