#include "runtime/generate/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "kernels/core/error.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"

namespace sy::runtime {
namespace {

struct VocabularyAxis;
template <class T>
using PerId = Indexed<VocabularyAxis, T>;

void check_finite(std::span<const float> logits) {
    const auto bad = std::ranges::find_if(logits, [](float logit) { return !std::isfinite(logit); });
    if (bad == logits.end()) return;
    throw Error(concat("generate: the logit of token ", bad - logits.begin(), " is not finite (", *bad,
                       "): training has diverged; use an earlier checkpoint"));
}

void penalise(std::span<const std::int32_t> earlier, double penalty, PerId<float>& logits) {
    if (penalty == 1.0) return;
    for (const std::int32_t id : std::set<std::int32_t>(earlier.begin(), earlier.end())) {
        if (id >= logits.size()) continue;
        const auto logit = static_cast<double>(logits[id]);
        logits[id] = static_cast<float>(logit < 0.0 ? logit * penalty : logit / penalty);
    }
}

/// The ids that top-k, top-p and min-p leave, likeliest first, and the probability they hold together.
struct Candidates {
    std::vector<index_t> ids;
    double held = 0.0;
};

Candidates candidates(const PerId<float>& probability, const GenerateConfig& config) {
    // A heap gives the likeliest one by one: sorting a whole vocabulary for each token takes longer than a small model.
    const auto below = [&](index_t a, index_t b) {
        return probability[a] != probability[b] ? probability[a] < probability[b] : a > b;
    };
    std::vector<index_t> heap(static_cast<std::size_t>(probability.size()));
    std::iota(heap.begin(), heap.end(), index_t{0});
    double total = 1.0;
    if (config.top_k > 0 && config.top_k < probability.size()) {
        const auto last = heap.begin() + (config.top_k - 1);
        std::nth_element(heap.begin(), last, heap.end(), [&](index_t a, index_t b) { return below(b, a); });
        const float least = probability[*last];
        std::erase_if(heap, [&](index_t id) { return probability[id] < least; });
        std::ranges::sort(heap);
        total = 0.0;
        for (const index_t id : heap) total += static_cast<double>(probability[id]);
    }
    std::ranges::make_heap(heap, below);
    Candidates result;
    const auto highest = static_cast<double>(probability[heap.front()]);
    while (!heap.empty()) {
        const auto next = static_cast<double>(probability[heap.front()]);
        const bool likely = result.held < config.top_p * total && next >= config.min_p * highest;
        if (!result.ids.empty() && !likely) break;
        result.ids.push_back(heap.front());
        result.held += next;
        std::ranges::pop_heap(heap, below);
        heap.pop_back();
    }
    return result;
}

}  // namespace

index_t sample_token(std::span<const float> logits, std::span<const std::int32_t> earlier,
                     const GenerateConfig& config, float draw) {
    check_finite(logits);
    PerId<float> penalised(std::vector<float>(logits.begin(), logits.end()));
    penalise(earlier, config.repetition_penalty, penalised);
    if (config.temperature <= 0.0) return std::ranges::max_element(penalised) - penalised.begin();
    PerId<float> probability(penalised.size());
    ops::softmax_row(penalised, config.temperature, probability);
    const Candidates left = candidates(probability, config);
    double rest = static_cast<double>(draw) * left.held;
    for (const index_t id : left.ids) {
        rest -= static_cast<double>(probability[id]);
        if (rest <= 0.0) return id;
    }
    return left.ids.back();
}

index_t sample_token_at(std::span<const float> logits, std::span<const std::int32_t> earlier,
                        const GenerateConfig& config, const DrawPlace& place) {
    const RandomKey key{config.seed, static_cast<std::uint64_t>(place.prompt_idx), 0, RandomPurpose::sample};
    return sample_token(logits, earlier, config, uniform(key, static_cast<std::uint64_t>(place.position)));
}

double log_probability(std::span<const float> logits, std::int32_t id) {
    const auto highest = static_cast<double>(*std::ranges::max_element(logits));
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
    return static_cast<double>(logits[static_cast<std::size_t>(id)]) - highest - std::log(sum);
}

}  // namespace sy::runtime
