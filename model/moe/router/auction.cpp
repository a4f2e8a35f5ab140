#include "model/moe/router/auction.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/core/host_view.hpp"
#include "kernels/core/indexed.hpp"

namespace sy::model {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Epsilon starts at a quarter of the range of scores, falls by this factor a round, and ends at 2^-22 of the range.
constexpr double kEpsilonStep = 0.2;
constexpr double kLowestEpsilon = 0x1p-22;

/// One place at an expert. Ordered by price, then token, so that heaps of them do not depend on the library.
struct Slot {
    double price = 0.0;
    std::int32_t token = -1;
    auto operator<=>(const Slot&) const = default;
};

double finite(float score) {
    constexpr double kLargest = std::numeric_limits<float>::max();
    if (std::isnan(score)) return -kLargest;
    return std::clamp(static_cast<double>(score), -kLargest, kLargest);
}

class Auction {
  public:
    explicit Auction(MatrixView<const float> scores)
        : storage_(static_cast<std::size_t>(scores.rows * scores.cols)),
          value_te_(storage_.data(), scores.rows, scores.cols),
          slots_(scores.cols),
          price_(scores.cols, kInfinity),
          expert_(scores.rows, 0) {
        for (index_t t = 0; t < scores.rows; ++t) {
            for (index_t e = 0; e < scores.cols; ++e) value_te_(t, e) = finite(scores(t, e));
        }
        for (index_t e = 0; e < scores.cols; ++e) {
            const index_t count = part_of(scores.rows, scores.cols, e).size();
            slots_[e].resize(static_cast<std::size_t>(count));
            if (count > 0) price_[e] = 0.0;
            for (index_t t = 0; t < scores.rows; ++t) {
                random_sum_ +=
                    static_cast<double>(count) / static_cast<double>(scores.rows) * value_te_(t, e);
            }
        }
    }

    std::vector<std::int32_t> solve() {
        const auto [lowest, highest] = std::ranges::minmax(storage_);
        // Bids must rise even where all scores are equal.
        const double range = highest > lowest ? highest - lowest : 1.0;
        for (double epsilon = range / 4.0;; epsilon *= kEpsilonStep) {
            run_round(epsilon);
            if (epsilon <= kLowestEpsilon * range || is_good_enough())
                return {expert_.begin(), expert_.end()};
        }
    }

  private:
    /// Assigns every token anew, from the prices of the last round.
    void run_round(double epsilon) {
        for (index_t e = 0; e < slots_.size(); ++e) std::ranges::fill(slots_[e], Slot{price_[e], -1});
        std::vector<std::int32_t> waiting(static_cast<std::size_t>(expert_.size()));
        std::iota(waiting.rbegin(), waiting.rend(), 0);
        while (!waiting.empty()) {
            const std::int32_t token = waiting.back();
            waiting.pop_back();
            const std::int32_t evicted = bid(token, epsilon);
            if (evicted >= 0) waiting.push_back(evicted);
        }
    }

    /// @return the token that loses its slot, or -1
    std::int32_t bid(std::int32_t token, double epsilon) {
        double best = -kInfinity;
        double second = -kInfinity;
        index_t best_expert = 0;
        for (index_t e = 0; e < price_.size(); ++e) {
            const double profit = value_te_(token, e) - price_[e];
            if (profit > best) {
                second = best;
                best = profit;
                best_expert = e;
            } else if (profit > second) {
                second = profit;
            }
        }
        // With one expert that has slots, every token gets one of them whatever it bids.
        if (second == -kInfinity) second = best;
        std::vector<Slot>& heap = slots_[best_expert];
        std::ranges::pop_heap(heap, std::greater<>());
        const std::int32_t evicted = heap.back().token;
        heap.back() = {heap.back().price + (best - second) + epsilon, token};
        std::ranges::push_heap(heap, std::greater<>());
        price_[best_expert] = heap.front().price;
        expert_[token] = static_cast<std::int32_t>(best_expert);
        return evicted;
    }

    /// By weak duality no assignment's sum exceeds sum_t max_e (value - price) + sum of the slots' prices.
    bool is_good_enough() const {
        double sum = 0.0;
        double bound = 0.0;
        for (index_t e = 0; e < slots_.size(); ++e) {
            if (!slots_[e].empty()) bound += static_cast<double>(slots_[e].size()) * price_[e];
        }
        for (index_t t = 0; t < expert_.size(); ++t) {
            double best = -kInfinity;
            for (index_t e = 0; e < price_.size(); ++e) best = std::max(best, value_te_(t, e) - price_[e]);
            bound += best;
            sum += value_te_(t, expert_[t]);
        }
        return bound - sum <= kAuctionGap * (sum - random_sum_);
    }

    std::vector<double> storage_;
    MatrixView<double> value_te_;
    double random_sum_ = 0.0;             ///< expected of a balanced assignment drawn at random
    PerExpert<std::vector<Slot>> slots_;  ///< heaps, the cheapest slot first
    PerExpert<double> price_;             ///< of the cheapest slot; infinite without slots
    PerToken<std::int32_t> expert_;
};

}  // namespace

std::vector<std::int32_t> balanced_assignment(ConstTensorRef scores) {
    if (scores.rows() == 0) return {};
    return Auction(host<const float>(scores)).solve();
}

}  // namespace sy::model
