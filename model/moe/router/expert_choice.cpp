#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/top_tokens/top_tokens.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

/// Where each expert's choice ends, and how many tokens of this rank stand exactly there.
struct Thresholds {
    PerExpert<ops::TokenThreshold> end;
    PerExpert<index_t> ties;
};

/// The kappa-th highest key of every expert over the global batch, by its digits from the highest to the lowest: one
/// all-reduced count of [E, 256] integers a digit, of which there are four.
Thresholds find_thresholds(const ChoiceInput& in, index_t kappa, const Context& context) {
    const index_t num_experts = in.scores.cols();
    Thresholds found{PerExpert<ops::TokenThreshold>(num_experts, {0, kappa}),
                     PerExpert<index_t>(num_experts)};
    Tensor counts(context.device, DType::i64, {num_experts, ops::kKeyDigits});
    for (int shift = ops::kKeyBits - ops::kKeyDigitBits; shift >= 0; shift -= ops::kKeyDigitBits) {
        ops::count_key_digits(in.scores, found.end, shift, counts, context);
        const HostValues read(HostRead::assignment, {counts}, context);
        const auto own = host_values<const index_t>(read[0]);
        std::vector<index_t> all(own.begin(), own.end());
        comm::all_reduce(in.world, std::span<index_t>(all));
        const MatrixView<const index_t> counts_ed(all.data(), num_experts, ops::kKeyDigits);
        for (index_t e = 0; e < num_experts; ++e) {
            ops::TokenThreshold& threshold = found.end[e];
            index_t digit = ops::kKeyDigits - 1;
            for (; digit > 0 && counts_ed(e, digit) < threshold.ties; --digit)
                threshold.ties -= counts_ed(e, digit);
            SY_REQUIRE(counts_ed(e, digit) >= threshold.ties, "expert choice: expert ", e, " wants ", kappa,
                       " of ", in.pass.batch.global_tokens, " tokens, and the ranks together have fewer");
            threshold.key = (threshold.key << ops::kKeyDigitBits) | static_cast<std::uint64_t>(digit);
            found.ties[e] = own[static_cast<std::size_t>(e * ops::kKeyDigits + digit)];
        }
    }
    return found;
}

/// The most experts that take one token, at least 1. @param taken  [T, E] u8
index_t most_takers(ConstTensorRef taken, const Context& context) {
    const HostValues read(HostRead::assignment, {taken}, context);
    const auto taken_te = host<const std::uint8_t>(read[0]);
    index_t most = 1;
    for (index_t t = 0; t < taken_te.rows; ++t)
        most = std::max<index_t>(most, std::ranges::count(taken_te.row_span(t), std::uint8_t{1}));
    return most;
}

class ExpertChoice : public RoutingStrategy {
  public:
    explicit ExpertChoice(const MoeConfig& config)
        : RoutingStrategy({.score = Score::softmax, .renormalise = false, .scale = config.routed_scale}),
          choices_(config.top_k) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        if (in.pass.use == Use::generate) {
            throw ConfigError(
                "moe.router = expert_choice cannot generate: its experts choose among all tokens of a batch, "
                "and while text is generated the later ones do not exist; train with another moe.router to "
                "generate");
        }
        const index_t num_experts = in.scores.cols();
        const index_t kappa = (in.pass.batch.global_tokens * choices_ + num_experts - 1) / num_experts;
        Thresholds thresholds = find_thresholds(in, kappa, context);
        comm::exscan(in.world, std::span<index_t>(thresholds.ties));
        Tensor taken(context.device, DType::u8, {in.scores.rows(), num_experts});
        ops::take_top_tokens(in.scores, thresholds.end, thresholds.ties, taken, context);
        Tensor expert(context.device, DType::i32, {in.scores.rows(), most_takers(taken, context)});
        ops::list_takers(in.scores, taken, expert, context);
        return expert;
    }

  private:
    index_t choices_;
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_expert_choice(const MoeConfig& config) {
    return std::make_unique<ExpertChoice>(config);
}

}  // namespace sy::model
