#include <cmath>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/policy/policy.hpp"

namespace sy::ops::ref {

double policy_loss(const PolicyLoss& in, std::span<const double> logits) {
    const auto experts = static_cast<std::size_t>(in.logits.cols());
    const auto draws = host<const std::int32_t>(in.draws);
    const auto advantage = host_values<const double>(in.advantage);
    double total = 0.0;
    for (index_t t = 0; t < in.logits.rows(); ++t) {
        const std::span<const double> x = logits.subspan(static_cast<std::size_t>(t) * experts, experts);
        std::vector<double> left;
        for (const double logit : x) left.push_back(std::exp(logit));
        const auto sum = [&] {
            double result = 0.0;
            for (const double power : left) result += power;
            return result;
        };
        for (const double logit : x) {
            const double p = std::exp(logit) / sum();
            total += in.entropy_bonus * p * std::log(p);
        }
        for (const std::int32_t draw : draws.row_span(t)) {
            const auto e = static_cast<std::size_t>(draw);
            total -= advantage[static_cast<std::size_t>(t)] * (x[e] - std::log(sum()));
            left[e] = 0.0;
        }
    }
    return in.share * total;
}

}  // namespace sy::ops::ref
