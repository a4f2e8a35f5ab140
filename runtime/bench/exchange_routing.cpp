#include "runtime/bench/exchange_routing.hpp"

#include <numeric>

#include "kernels/core/host_view.hpp"
#include "kernels/core/philox.hpp"

namespace sy::runtime::bench {

BenchRouting::BenchRouting(const ExchangeShape& shape, int rank)
    : weight_(shape.tokens * shape.top_k, 1.0F / static_cast<float>(shape.top_k)),
      kept_(shape.tokens * shape.top_k, 1),
      num_tokens_(shape.tokens),
      top_k_(shape.top_k) {
    index_t stride = 5;
    while (std::gcd(stride, shape.experts) != 1) ++stride;
    expert_.reserve(num_tokens_ * top_k_);
    for (index_t t = 0; t < num_tokens_; ++t) {
        const auto stream = static_cast<std::uint64_t>(rank * num_tokens_ + t);
        const float u = uniform({5, 0, 0, RandomPurpose::test}, stream);
        const float v = uniform({6, 0, 0, RandomPurpose::test}, stream);
        const auto first = v < shape.hot ? 0 : static_cast<index_t>(u * static_cast<float>(shape.experts));
        // A stride without a common divisor meets every expert.
        for (index_t j = 0; j < top_k_; ++j)
            expert_.push_back(static_cast<std::int32_t>((first + j * stride) % shape.experts));
    }
}

BenchRouting::BenchRouting(const model::RoutingRecord& recorded)
    : expert_(recorded.expert),
      weight_(recorded.weight),
      kept_(recorded.kept),
      num_tokens_(recorded.num_tokens),
      top_k_(recorded.top_k) {}

comm::Choices BenchRouting::choices() const {
    return {MatrixView<const std::int32_t>(expert_.data(), num_tokens_, top_k_),
            MatrixView<const float>(weight_.data(), num_tokens_, top_k_),
            MatrixView<const std::uint8_t>(kept_.data(), num_tokens_, top_k_)};
}

double BenchRouting::kept_weight(index_t token) const {
    double sum = 0.0;
    for (index_t i = token * top_k_; i < (token + 1) * top_k_; ++i)
        sum += kept_[i] != 0 ? static_cast<double>(weight_[i]) : 0.0;
    return sum;
}

}  // namespace sy::runtime::bench
