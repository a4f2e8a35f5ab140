#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/policy/policy.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// @param first_element  of the stream
void add_gumbel(const RandomKey& key, std::uint64_t first_element, std::span<const float> logits,
                std::span<float> keys) {
    std::array<std::uint32_t, 4> words{};
    auto block = ~std::uint64_t{0};
    for (std::size_t e = 0; e < logits.size(); ++e) {
        const std::uint64_t element = first_element + e;
        if (element / 4 != block) {
            block = element / 4;
            words = philox(key, block);
        }
        keys[e] = static_cast<float>(static_cast<double>(logits[e]) + gumbel_from(words[element % 4]));
    }
}

/// What one token's gradient needs of its policy.
struct Policy {
    std::span<const float> logits;
    double lse;
    std::vector<double> probability;

    Policy(std::span<const float> logits_, float lse_) : logits(logits_), lse(static_cast<double>(lse_)) {
        for (std::size_t e = 0; e < logits.size(); ++e) probability.push_back(std::exp(log_probability(e)));
    }
    double log_probability(std::size_t e) const { return static_cast<double>(logits[e]) - lse; }

    /// d log pi(draws) / d logits, times `factor`: at each draw 1 for its expert, minus the softmax over those left.
    void add_draws(double factor, std::span<const std::int32_t> draws, std::span<double> gradient) const {
        std::vector<double> left = probability;
        for (const std::int32_t draw : draws) {
            double sum = 0.0;
            for (const double p : left) sum += p;
            // Experts whose probability rounds to 0 are drawn only when nothing else is left.
            if (sum <= 0.0) return;
            gradient[at(draw)] += factor;
            for (std::size_t e = 0; e < left.size(); ++e) gradient[e] -= factor * left[e] / sum;
            left[at(draw)] = 0.0;
        }
    }

    /// d H / d logits, times `factor`: -p (log p + H).
    void add_entropy(double factor, std::span<double> gradient) const {
        double entropy = 0.0;
        for (std::size_t e = 0; e < logits.size(); ++e) entropy -= probability[e] * log_probability(e);
        for (std::size_t e = 0; e < logits.size(); ++e)
            gradient[e] -= factor * probability[e] * (log_probability(e) + entropy);
    }
};

}  // namespace

void on_cpu::policy_keys(ConstTensorRef logits, const RandomKey& key, index_t first_token, TensorRef keys,
                         const Context& context) {
    const auto logits_te = host<const float>(logits);
    const auto keys_te = host<float>(keys);
    cpu(context).team().for_ranges(keys_te.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            add_gumbel(key, static_cast<std::uint64_t>((first_token + t) * keys_te.cols),
                       logits_te.row_span(t), keys_te.row_span(t));
        }
    });
}

void on_cpu::policy_advantage(const PolicyBaseline& in, TensorRef advantage, const Context& context) {
    const auto x_th = host<const float>(in.x);
    const auto slope_h1 = host<const float>(in.slope);
    const auto offset_1 = host_values<const float>(in.offset);
    const auto token_loss_t = host_values<const float>(in.token_loss);
    const auto advantage_t = host_values<double>(advantage);
    cpu(context).team().for_ranges(x_th.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            auto baseline = static_cast<double>(offset_1[0]);
            for (index_t h = 0; h < x_th.cols; ++h)
                baseline += static_cast<double>(x_th(t, h)) * static_cast<double>(slope_h1(h, 0));
            advantage_t[at(t)] = -static_cast<double>(token_loss_t[at(t)]) - baseline;
        }
    });
}

void on_cpu::policy_baseline_backward(double factor, ConstTensorRef advantage, TensorRef dbaseline,
                                      const Context&) {
    const auto advantage_t = host_values<const double>(advantage);
    const auto dbaseline_t = host_values<float>(dbaseline);
    std::ranges::transform(advantage_t, dbaseline_t.begin(),
                           [=](double one) { return static_cast<float>(factor * one); });
}

void on_cpu::policy_backward(const PolicyLoss& in, TensorRef dlogits, const Context& context) {
    const auto logits_te = host<const float>(in.logits);
    const auto lse_t = host_values<const float>(in.lse);
    const auto draws_tk = host<const std::int32_t>(in.draws);
    const auto advantage_t = host_values<const double>(in.advantage);
    const auto dlogits_te = host<float>(dlogits);
    const index_t tokens = logits_te.rows;
    cpu(context).team().for_ranges(tokens, 8, [&](index_t begin, index_t end) {
        std::vector<double> row(at(logits_te.cols));
        for (index_t t = begin; t < end; ++t) {
            std::ranges::fill(row, 0.0);
            const Policy policy(logits_te.row_span(t), lse_t[at(t)]);
            policy.add_draws(-in.share * advantage_t[at(t)], draws_tk.row_span(t), row);
            if (in.entropy_bonus != 0.0) policy.add_entropy(-in.share * in.entropy_bonus, row);
            for (index_t e = 0; e < logits_te.cols; ++e) dlogits_te(t, e) += static_cast<float>(row[at(e)]);
        }
    });
}

}  // namespace sy::ops
