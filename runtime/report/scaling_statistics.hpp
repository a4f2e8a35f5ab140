#pragma once

#include <span>
#include <vector>

/// Statistics of repeated measurements: pure functions.
namespace sy::runtime {

/// The q-quantile, linear between the two nearest values (type 7, the default of numpy.quantile).
/// @param q  0 to 1
/// @pre values are not empty
double quantile(std::vector<double> values, double q);
double median(std::vector<double> values);

/// Below which a variable of Student's t distribution is with this probability.
/// @param probability  0.5 to below 1
/// @par Source  Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4
double student_t_quantile(double probability, int degrees_of_freedom);

/// A mean and the half width of its interval of confidence, by Student's t; NaN for less than two values.
struct Interval {
    double mean = 0.0;
    double half_width = 0.0;
};
inline constexpr double kConfidence = 0.95;

/// @pre values are not empty
Interval mean_interval(std::span<const double> values, double confidence = kConfidence);

/// The quotient of two independent means, with relative half widths added as squares.
Interval quotient(const Interval& above, const Interval& below);

/// The efficiencies of POP, whose product parallel = load_balance * communication holds.
struct PopEfficiencies {
    double parallel = 0.0;       ///< mean useful time of a rank over elapsed time
    double load_balance = 0.0;   ///< mean over maximum of the useful times
    double communication = 0.0;  ///< maximum of the useful times over elapsed time
};

/// @param mean_useful, max_useful  seconds in which a rank did not communicate, over all ranks
PopEfficiencies pop_efficiencies(double mean_useful, double max_useful, double elapsed);

}  // namespace sy::runtime
