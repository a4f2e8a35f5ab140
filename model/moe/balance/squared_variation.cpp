#include "model/moe/balance/squared_variation.hpp"

namespace sy::model {
namespace {

struct Moments {
    double mean = 0.0;
    double variance = 0.0;
    double floored_square = 0.0;  ///< of the mean, kept off 0

    explicit Moments(std::span<const ExactSum> sums) {
        const auto count = static_cast<double>(sums.size());
        for (const ExactSum& sum : sums) mean += sum.value() / count;
        for (const ExactSum& sum : sums) variance += (sum.value() - mean) * (sum.value() - mean) / count;
        floored_square = mean * mean + 1e-10;
    }
};

}  // namespace

double squared_variation(std::span<const ExactSum> sums) {
    const Moments moments(sums);
    return moments.variance / moments.floored_square;
}

std::vector<float> squared_variation_gradient(std::span<const ExactSum> sums, double scale) {
    const Moments moments(sums);
    const double by_mean = moments.variance * moments.mean / moments.floored_square;
    std::vector<float> gradient;
    for (const ExactSum& sum : sums) {
        const double slope = 2.0 * (sum.value() - moments.mean - by_mean) /
                             (static_cast<double>(sums.size()) * moments.floored_square);
        gradient.push_back(static_cast<float>(scale * slope));
    }
    return gradient;
}

}  // namespace sy::model
