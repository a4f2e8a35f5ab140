#include "runtime/report/load_history.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/core/error.hpp"
#include "runtime/report/summary.hpp"

namespace sy::runtime {
namespace {

/// Columns of a heat map over time, and the cells that the maps of one run may have, which bound the size of a page.
constexpr std::size_t kMostSpans = 64;
constexpr std::size_t kFewestSpans = 8;
constexpr std::size_t kMostCells = 200000;

bool same_shape(const Loads& left, const Loads& right) {
    return std::ranges::equal(left, right, {}, &std::vector<double>::size, &std::vector<double>::size);
}

void add_to(LoadSpan& span, const LoadSpan& other) {
    if (span.loads.empty()) {
        span = other;
        return;
    }
    span.first_step = std::min(span.first_step, other.first_step);
    span.last_step = std::max(span.last_step, other.last_step);
    for (std::size_t layer = 0; layer < span.loads.size(); ++layer)
        std::ranges::transform(span.loads[layer], other.loads[layer], span.loads[layer].begin(), std::plus());
}

}  // namespace

void LoadHistory::add(index_t step, const std::vector<index_t>& layers, const Loads& loads) {
    if (layers.empty() || step < 1) return;
    if (layers_.empty()) {
        layers_ = layers;
        shape_ = loads;
        std::size_t cells = 1;
        for (const auto& layer : loads) cells += layer.size();
        most_spans_ = std::clamp(kMostCells / cells, kFewestSpans, kMostSpans);
    }
    if (layers != layers_ || !same_shape(loads, shape_)) return;
    if (!last_.empty() && step <= last_.back().last_step) forget_from(step);
    const LoadSpan of_step{step, step, loads};
    add_to(spans_[step / span_steps_], of_step);
    last_.push_back(of_step);
    if (last_.size() > kLastSteps) last_.pop_front();
    while (spans_.size() > most_spans_) {
        span_steps_ *= 2;
        std::map<index_t, LoadSpan> longer;
        for (const auto& [place, span] : spans_) add_to(longer[place / 2], span);
        spans_ = std::move(longer);
    }
}

void LoadHistory::forget_from(index_t step) {
    std::erase_if(spans_, [step](const auto& entry) { return entry.second.last_step >= step; });
    std::erase_if(last_, [step](const LoadSpan& span) { return span.last_step >= step; });
}

std::vector<LoadSpan> LoadHistory::spans() const {
    std::vector<LoadSpan> spans;
    for (const auto& [place, span] : spans_) spans.push_back(span);
    return spans;
}

LoadSpan LoadHistory::last_steps() const {
    SY_REQUIRE(!last_.empty(), "no step has loads");
    LoadSpan sum;
    for (const LoadSpan& span : last_) add_to(sum, span);
    return sum;
}

std::vector<double> over_mean(const std::vector<double>& loads) {
    const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
    std::vector<double> shares = loads;
    for (double& share : shares) share = sum > 0.0 ? share * static_cast<double>(loads.size()) / sum : 0.0;
    return shares;
}

double load_entropy(const std::vector<double>& loads) {
    const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
    if (!(sum > 0.0)) return std::numeric_limits<double>::quiet_NaN();
    if (loads.size() == 1) return 1.0;
    double entropy = 0.0;
    for (const double load : loads) {
        if (load > 0.0) entropy -= load / sum * std::log(load / sum);
    }
    return entropy / std::log(static_cast<double>(loads.size()));
}

}  // namespace sy::runtime
