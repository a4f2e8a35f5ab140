#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/policy/policy.hpp"

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

void policy_keys(MatrixView<const float> logits, const RandomKey& key, index_t first_token,
                 MatrixView<float> keys, const Context& context) {
    SY_FITS(keys.rows == logits.rows && keys.cols == logits.cols && first_token >= 0, "policy_keys: [",
            logits.rows, ", ", logits.cols, "] into [", keys.rows, ", ", keys.cols, "], first token ",
            first_token);
    const Timed timed(context, OpKind::routing, 3.0 * static_cast<double>(keys.rows * keys.cols));
    context.team.for_ranges(keys.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            add_gumbel(key, static_cast<std::uint64_t>((first_token + t) * keys.cols), logits.row_span(t),
                       keys.row_span(t));
        }
    });
}

void policy_advantage(const PolicyBaseline& in, std::span<double> advantage, const Context& context) {
    SY_FITS(in.slope.rows == in.x.cols && in.slope.cols == 1 && in.offset.size() == 1 &&
                in.token_loss.size() == at(in.x.rows) && advantage.size() == at(in.x.rows),
            "policy_advantage: ", in.token_loss.size(), " rewards for ", in.x.rows, " tokens, ",
            advantage.size(), " advantages, slope [", in.slope.rows, ", ", in.slope.cols, "] of width ",
            in.x.cols);
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(in.x.rows * in.x.cols));
    context.team.for_ranges(in.x.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            auto baseline = static_cast<double>(in.offset[0]);
            for (index_t h = 0; h < in.x.cols; ++h)
                baseline += static_cast<double>(in.x(t, h)) * static_cast<double>(in.slope(h, 0));
            advantage[at(t)] = -static_cast<double>(in.token_loss[at(t)]) - baseline;
        }
    });
}

void policy_baseline_backward(double factor, std::span<const double> advantage, std::span<float> dbaseline,
                              const Context& context) {
    SY_FITS(advantage.size() == dbaseline.size(), "policy_baseline_backward: ", advantage.size(),
            " advantages into ", dbaseline.size());
    const Timed timed(context, OpKind::routing, static_cast<double>(advantage.size()));
    std::ranges::transform(advantage, dbaseline.begin(),
                           [=](double one) { return static_cast<float>(factor * one); });
}

void policy_backward(const PolicyLoss& in, MatrixView<float> dlogits, const Context& context) {
    const index_t tokens = in.logits.rows;
    SY_FITS(dlogits.rows == tokens && dlogits.cols == in.logits.cols && in.lse.size() == at(tokens) &&
                in.draws.rows == tokens && in.advantage.size() == at(tokens),
            "policy_backward: logits [", tokens, ", ", in.logits.cols, "], gradient [", dlogits.rows, ", ",
            dlogits.cols, "], ", in.lse.size(), " logsumexps, draws of ", in.draws.rows, " tokens, ",
            in.advantage.size(), " advantages");
    const Timed timed(context, OpKind::routing, static_cast<double>(tokens * in.logits.cols * in.draws.cols));
    context.team.for_ranges(tokens, 8, [&](index_t begin, index_t end) {
        std::vector<double> row(at(in.logits.cols));
        for (index_t t = begin; t < end; ++t) {
            std::ranges::fill(row, 0.0);
            const Policy policy(in.logits.row_span(t), in.lse[at(t)]);
            policy.add_draws(-in.share * in.advantage[at(t)], in.draws.row_span(t), row);
            if (in.entropy_bonus != 0.0) policy.add_entropy(-in.share * in.entropy_bonus, row);
            for (index_t e = 0; e < in.logits.cols; ++e) dlogits(t, e) += static_cast<float>(row[at(e)]);
        }
    });
}

}  // namespace sy::ops
