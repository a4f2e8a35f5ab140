#include <algorithm>
#include <bit>

#include "comm/collectives.hpp"
#include "kernels/core/profile.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

constexpr int kDigitBits = 8;
constexpr index_t kDigits = index_t{1} << kDigitBits;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// An integer in the order of the scores (0 and -0 equal). 64 bits, so that all 32 of it can be shifted away.
std::uint64_t key_of(float score) {
    const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// Where an expert's choice ends: it takes every key above `key` and the first `ties` tokens that have it.
struct Threshold {
    std::uint64_t key = 0;
    index_t ties = 0;
};

/// The kappa-th highest key of every expert over the global batch, by its digits from the highest to the lowest: one
/// all-reduced count of [E, 256] integers a digit, of which there are four.
std::vector<Threshold> find_thresholds(const ChoiceInput& in, index_t kappa, const Context& context) {
    const MatrixView<const float> scores = in.scores;
    std::vector<Threshold> found(at(scores.cols), {0, kappa});
    std::vector<index_t> counts(at(scores.cols * kDigits));
    for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
        std::ranges::fill(counts, 0);
        {
            const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows * scores.cols));
            context.team.for_ranges(scores.cols, 1, [&](index_t begin, index_t end) {
                for (index_t t = 0; t < scores.rows; ++t) {
                    for (index_t e = begin; e < end; ++e) {
                        const std::uint64_t key = key_of(scores(t, e));
                        if (key >> (shift + kDigitBits) != found[at(e)].key) continue;
                        const auto digit = static_cast<index_t>((key >> shift) & (kDigits - 1));
                        ++counts[at(e * kDigits + digit)];
                    }
                }
            });
        }
        comm::all_reduce(in.world, std::span<index_t>(counts));
        for (index_t e = 0; e < scores.cols; ++e) {
            Threshold& threshold = found[at(e)];
            index_t digit = kDigits - 1;
            for (; digit > 0 && counts[at(e * kDigits + digit)] < threshold.ties; --digit)
                threshold.ties -= counts[at(e * kDigits + digit)];
            SY_REQUIRE(counts[at(e * kDigits + digit)] >= threshold.ties, "expert choice: expert ", e,
                       " wants ", kappa, " of ", in.pass.batch.global_tokens,
                       " tokens, and the ranks together have fewer");
            threshold.key = (threshold.key << kDigitBits) | static_cast<std::uint64_t>(digit);
        }
    }
    return found;
}

class ExpertChoice : public RoutingStrategy {
  public:
    explicit ExpertChoice(const MoeConfig& config)
        : choices_(config.top_k),
          rule_{.score = Score::softmax, .renormalise = false, .scale = config.routed_scale} {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        if (in.pass.use == Use::generate) {
            throw ConfigError(
                "moe.router = expert_choice cannot generate: its experts choose among all tokens of a batch, "
                "and "
                "while text is generated the later ones do not exist; train with another moe.router to "
                "generate");
        }
        const index_t num_experts = in.scores.cols;
        const index_t kappa = (in.pass.batch.global_tokens * choices_ + num_experts - 1) / num_experts;
        const std::vector<Threshold> thresholds = find_thresholds(in, kappa, context);
        return experts_of_tokens(in, take(in, thresholds), context);
    }
    WeightRule weights() const override { return rule_; }

  private:
    /// Whom each expert takes, [T, E]; of tokens with equal scores the lower global ones.
    static std::vector<std::uint8_t> take(const ChoiceInput& in, std::span<const Threshold> thresholds) {
        const MatrixView<const float> scores = in.scores;
        std::vector<std::uint8_t> taken(at(scores.rows * scores.cols), 0);
        std::vector<index_t> tie(at(scores.cols), 0);
        for (index_t t = 0; t < scores.rows; ++t) {
            for (index_t e = 0; e < scores.cols; ++e)
                tie[at(e)] += key_of(scores(t, e)) == thresholds[at(e)].key ? 1 : 0;
        }
        comm::exscan(in.world, std::span<index_t>(tie));
        for (index_t t = 0; t < scores.rows; ++t) {
            for (index_t e = 0; e < scores.cols; ++e) {
                const Threshold& threshold = thresholds[at(e)];
                const std::uint64_t key = key_of(scores(t, e));
                const bool takes =
                    key > threshold.key || (key == threshold.key && tie[at(e)]++ < threshold.ties);
                taken[at(t * scores.cols + e)] = takes ? 1 : 0;
            }
        }
        return taken;
    }

    static Tensor experts_of_tokens(const ChoiceInput& in, std::span<const std::uint8_t> taken,
                                    const Context& context) {
        const index_t num_experts = in.scores.cols;
        index_t most = 1;
        for (index_t t = 0; t < in.scores.rows; ++t) {
            const auto row = taken.subspan(at(t * num_experts), at(num_experts));
            most = std::max<index_t>(most, std::ranges::count(row, std::uint8_t{1}));
        }
        Tensor result(context.arena, DType::i32, {in.scores.rows, most});
        std::ranges::fill(result.values<std::int32_t>(), kNoExpert);
        for (index_t t = 0; t < in.scores.rows; ++t) {
            const std::span<std::int32_t> chosen = result.matrix<std::int32_t>().row_span(t);
            std::size_t count = 0;
            for (index_t e = 0; e < num_experts; ++e) {
                if (taken[at(t * num_experts + e)] != 0) chosen[count++] = static_cast<std::int32_t>(e);
            }
            std::ranges::sort(chosen.first(count), [&](std::int32_t a, std::int32_t b) {
                const std::uint64_t key_a = key_of(in.scores(t, a));
                const std::uint64_t key_b = key_of(in.scores(t, b));
                return key_a != key_b ? key_a > key_b : a < b;
            });
        }
        return result;
    }

    index_t choices_;
    WeightRule rule_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_expert_choice(const MoeConfig& config) {
    return std::make_unique<ExpertChoice>(config);
}

}  // namespace sy::model
