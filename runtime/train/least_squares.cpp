#include "runtime/train/least_squares.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <utility>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Solves A x = b by elimination with pivots. Singular: NaN. @param a  [n, n], row by row
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
    const std::size_t n = b.size();
    for (std::size_t column = 0; column < n; ++column) {
        std::size_t pivot = column;
        for (std::size_t row = column + 1; row < n; ++row)
            if (std::abs(a[row * n + column]) > std::abs(a[pivot * n + column])) pivot = row;
        for (std::size_t i = 0; i < n; ++i) std::swap(a[column * n + i], a[pivot * n + i]);
        std::swap(b[column], b[pivot]);
        for (std::size_t row = 0; row < n; ++row) {
            if (row == column) continue;
            const double factor = a[row * n + column] / a[column * n + column];
            for (std::size_t i = column; i < n; ++i) a[row * n + i] -= factor * a[column * n + i];
            b[row] -= factor * b[column];
        }
    }
    for (std::size_t i = 0; i < n; ++i) b[i] /= a[i * n + i];
    return b;
}

double squared_error(const std::vector<Observation>& observations, const std::vector<double>& coefficients) {
    double sum = 0.0;
    for (const Observation& seen : observations) {
        double value = 0.0;
        for (std::size_t i = 0; i < coefficients.size(); ++i) value += coefficients[i] * seen.factors[i];
        sum += (value - seen.value) * (value - seen.value);
    }
    return sum;
}

/// Only the factors whose bit is set.
std::vector<Observation> with_factors(const std::vector<Observation>& observations, std::size_t set) {
    std::vector<Observation> chosen;
    for (const Observation& seen : observations) {
        chosen.push_back({{}, seen.value});
        for (std::size_t i = 0; i < seen.factors.size(); ++i)
            if ((set >> i & 1U) != 0) chosen.back().factors.push_back(seen.factors[i]);
    }
    return chosen;
}

}  // namespace

std::vector<double> least_squares(const std::vector<Observation>& observations) {
    SY_REQUIRE(!observations.empty() && observations.size() >= observations.front().factors.size(),
               "a fit of ", observations.empty() ? 0 : observations.front().factors.size(),
               " coefficients to ", observations.size(), " observations");
    const std::size_t n = observations.front().factors.size();
    // Normal equations; columns are scaled to length 1, so that they stay well conditioned.
    std::vector<double> length(n, 0.0);
    for (const Observation& seen : observations)
        for (std::size_t i = 0; i < n; ++i) length[i] = std::hypot(length[i], seen.factors[i]);
    std::vector<double> a(n * n, 0.0);
    std::vector<double> b(n, 0.0);
    for (const Observation& seen : observations) {
        for (std::size_t i = 0; i < n; ++i) {
            b[i] += seen.factors[i] / length[i] * seen.value;
            for (std::size_t j = 0; j < n; ++j)
                a[i * n + j] += seen.factors[i] / length[i] * seen.factors[j] / length[j];
        }
    }
    std::vector<double> solution = solve(std::move(a), std::move(b));
    for (std::size_t i = 0; i < n; ++i) solution[i] /= length[i];
    return solution;
}

std::vector<double> nonnegative_least_squares(const std::vector<Observation>& observations) {
    SY_REQUIRE(!observations.empty() && observations.front().factors.size() <= 10,
               "a fit of too many factors");
    const std::size_t n = observations.front().factors.size();
    std::vector<double> best(n, 0.0);
    double least_error = squared_error(observations, best);
    for (std::size_t set = 1; set < std::size_t{1} << n; ++set) {
        if (std::popcount(set) > std::ssize(observations)) continue;
        const std::vector<double> fitted = least_squares(with_factors(observations, set));
        if (!std::ranges::all_of(fitted, [](double x) { return x >= 0.0; })) continue;  // NaN included
        std::vector<double> coefficients(n, 0.0);
        for (std::size_t i = 0, next = 0; i < n; ++i)
            if ((set >> i & 1U) != 0) coefficients[i] = fitted[next++];
        const double error = squared_error(observations, coefficients);
        if (error >= least_error) continue;
        least_error = error;
        best = std::move(coefficients);
    }
    return best;
}

}  // namespace sy::runtime
