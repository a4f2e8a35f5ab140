#pragma once

#include <vector>

/// Small linear least-squares problems.
namespace sy::runtime {

/// An observation: value = sum of coefficients times factors.
struct Observation {
    std::vector<double> factors;
    double value = 0.0;
};

/// The coefficients with the least sum of squared errors; NaN where the observations do not determine them.
/// @pre at least as many observations as factors, all with the same number
std::vector<double> least_squares(const std::vector<Observation>& observations);

/// The same with no coefficient below zero, and with zero for a factor that is zero in every observation. Tries every set of
/// coefficients that may differ from zero, so it is for a handful.
/// @pre at most 10 factors
std::vector<double> nonnegative_least_squares(const std::vector<Observation>& observations);

}  // namespace sy::runtime
