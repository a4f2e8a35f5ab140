#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

/// How a time grows with the number of ranks: models fitted by least squares, and how far they can be trusted.
namespace sy::runtime {

/// What was measured: seconds on so many ranks.
struct ScalingSample {
    double ranks = 1.0;
    double seconds = 0.0;
};

/// ranks^power * log2(ranks)^log_power
struct ScalingTerm {
    double power = 0.0;
    int log_power = 0;

    double at(double ranks) const;
    bool operator==(const ScalingTerm&) const = default;
};

/// seconds = constant + sum of coefficients times terms
struct ScalingModel {
    double constant = 0.0;
    std::vector<ScalingTerm> terms;
    std::vector<double> coefficients;  ///< one a term
    /// The largest relative error with which a sample is predicted by a fit to the others.
    double held_out_error = 0.0;

    double at(double ranks) const;
    /// Such as "0.12 + 1.5 p^-1".
    std::string text() const;
};

/// The coefficients of these terms by least squares. @pre at least one sample more than terms
ScalingModel fit_terms(std::span<const ScalingSample> samples, const std::vector<ScalingTerm>& terms);

inline constexpr std::size_t kLeastSizes = 3;
/// A model that is further off for a held-out sample predicts nothing.
inline constexpr double kLargestHeldOutError = 0.5;

/// Of the models c + a p^i log2(p)^j (the normal form of Extra-P with one term, with negative powers for work that is
/// divided) and c + a/p + b log2(p), the one that predicts held-out samples best; a sample is left out in turn. A model is
/// no candidate where a prediction is not above zero, up to `largest_ranks`.
/// @param samples  one for each number of ranks
/// @return nothing for fewer than kLeastSizes samples, or where the best candidate is off by more than kLargestHeldOutError
/// @par Source  Calotoiu et al., Using automated performance modeling to find scalability bugs in complex codes, SC 2013
std::optional<ScalingModel> fit_scaling(std::span<const ScalingSample> samples, double largest_ranks);

}  // namespace sy::runtime
