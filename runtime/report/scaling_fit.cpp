#include "runtime/report/scaling_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/train/least_squares.hpp"

namespace sy::runtime {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Two models whose errors differ by less than this are equally good; the one that comes first is simpler.
constexpr double kSameError = 1e-9;

/// Every model that is tried, simple ones first.
std::vector<std::vector<ScalingTerm>> hypotheses() {
    std::vector<std::vector<ScalingTerm>> all{{}};
    for (const double power : {-1.0, -0.75, -2.0 / 3.0, -0.5, -1.0 / 3.0, -0.25, 0.0, 0.25, 1.0 / 3.0, 0.5,
                               2.0 / 3.0, 0.75, 1.0, 1.5, 2.0}) {
        for (const int log_power : {0, 1, 2}) {
            if (power != 0.0 || log_power != 0) all.push_back({{power, log_power}});
        }
    }
    all.push_back({{-1.0, 0}, {0.0, 1}});
    return all;
}

/// The largest relative error of a sample that the fit to the others predicts; infinite where one is not above zero.
double held_out_error(std::span<const ScalingSample> samples, const std::vector<ScalingTerm>& terms) {
    double largest = 0.0;
    for (std::size_t left_out = 0; left_out < samples.size(); ++left_out) {
        std::vector<ScalingSample> others(samples.begin(), samples.end());
        others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
        const double predicted = fit_terms(others, terms).at(samples[left_out].ranks);
        if (!(predicted > 0.0)) return kInfinity;
        largest = std::max(largest, std::abs(predicted / samples[left_out].seconds - 1.0));
    }
    return largest;
}

}  // namespace

double ScalingTerm::at(double ranks) const {
    return std::pow(ranks, power) * std::pow(std::log2(ranks), log_power);
}

double ScalingModel::at(double ranks) const {
    double seconds = constant;
    for (std::size_t i = 0; i < terms.size(); ++i) seconds += coefficients[i] * terms[i].at(ranks);
    return seconds;
}

std::string ScalingModel::text() const {
    std::string text = concat(constant);
    for (std::size_t i = 0; i < terms.size(); ++i) {
        text += concat(coefficients[i] < 0.0 ? " - " : " + ", std::abs(coefficients[i]));
        if (terms[i].power != 0.0) text += concat(" p^", terms[i].power);
        if (terms[i].log_power == 1) text += " log2(p)";
        if (terms[i].log_power > 1) text += concat(" log2(p)^", terms[i].log_power);
    }
    return text;
}

ScalingModel fit_terms(std::span<const ScalingSample> samples, const std::vector<ScalingTerm>& terms) {
    const std::size_t n = terms.size() + 1;
    SY_REQUIRE(samples.size() >= n, "a fit of ", n, " coefficients to ", samples.size(), " samples");
    std::vector<Observation> observations;
    for (const ScalingSample& sample : samples) {
        Observation& seen = observations.emplace_back(Observation{{1.0}, sample.seconds});
        for (const ScalingTerm& term : terms) seen.factors.push_back(term.at(sample.ranks));
    }
    const std::vector<double> solution = least_squares(observations);
    ScalingModel model;
    model.constant = solution[0];
    model.terms = terms;
    model.coefficients.assign(solution.begin() + 1, solution.end());
    return model;
}

std::optional<ScalingModel> fit_scaling(std::span<const ScalingSample> samples, double largest_ranks) {
    std::optional<ScalingModel> best;
    if (samples.size() < kLeastSizes) return best;
    double least_error = kLargestHeldOutError;
    for (const std::vector<ScalingTerm>& terms : hypotheses()) {
        if (samples.size() < terms.size() + 2) continue;
        const double error = held_out_error(samples, terms);
        if (!(error < least_error - kSameError)) continue;
        ScalingModel model = fit_terms(samples, terms);
        if (!(model.at(largest_ranks) > 0.0)) continue;
        least_error = model.held_out_error = error;
        best = std::move(model);
    }
    return best;
}

}  // namespace sy::runtime
