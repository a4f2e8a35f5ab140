#include "model/moe/balance/sums.hpp"

namespace sy::model {
namespace {

struct Moments {
    double mean = 0.0;
    double variance = 0.0;
    double floored_square = 0.0;  ///< of the mean, kept off 0

    explicit Moments(std::span<const std::int64_t> sums) {
        const auto count = static_cast<double>(sums.size());
        for (const std::int64_t sum : sums) mean += from_sum(sum) / count;
        for (const std::int64_t sum : sums)
            variance += (from_sum(sum) - mean) * (from_sum(sum) - mean) / count;
        floored_square = mean * mean + 1e-10;
    }
};

}  // namespace

double squared_variation(std::span<const std::int64_t> sums) {
    const Moments moments(sums);
    return moments.variance / moments.floored_square;
}

std::vector<double> squared_variation_gradient(std::span<const std::int64_t> sums) {
    const Moments moments(sums);
    const double by_mean = moments.variance * moments.mean / moments.floored_square;
    std::vector<double> gradient;
    for (const std::int64_t sum : sums) {
        gradient.push_back(2.0 * (from_sum(sum) - moments.mean - by_mean) /
                           (static_cast<double>(sums.size()) * moments.floored_square));
    }
    return gradient;
}

}  // namespace sy::model
