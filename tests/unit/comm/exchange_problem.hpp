#pragma once

#include <numeric>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "tests/unit/comm/conformance.hpp"

/// A problem for an exchange, drawn from a seed, and what a dense computation makes of it.
namespace sy::test {

enum class TokensOn { all_ranks, first_rank, odd_ranks };
enum class Chosen { mixed, one_expert, all_dropped };
enum class ExpertsOn { blocks, rotated, last_rank, copied };

struct Setup {
    index_t tokens = 24;
    index_t experts = 6;
    index_t top_k = 2;
    index_t hidden = 9;
    TokensOn tokens_on = TokensOn::all_ranks;
    Chosen chosen = Chosen::mixed;
    ExpertsOn experts_on = ExpertsOn::blocks;
    comm::ReturnRows return_rows = comm::ReturnRows::per_unit;
    comm::SlotChunks chunks = comm::SlotChunks::by_arrival;
    std::uint64_t seed = 1;

    std::string to_string() const {
        return concat("seed ", seed, ": ", tokens, " tokens (", static_cast<int>(tokens_on), "), ", experts,
                      " experts (", static_cast<int>(experts_on), "), top ", top_k, " (",
                      static_cast<int>(chosen), "), hidden ", hidden,
                      return_rows == comm::ReturnRows::per_unit ? ", per unit" : ", per choice",
                      chunks == comm::SlotChunks::one ? ", in one chunk" : ", by arrival");
    }
};

inline std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// The whole problem, the same on every rank and number of ranks.
struct Problem {
    Setup setup;
    std::vector<std::int32_t> expert;
    std::vector<float> weight;
    std::vector<std::uint8_t> kept;
    std::vector<float> x;

    explicit Problem(const Setup& wanted) : setup(wanted) {
        Draws draws(setup.seed);
        for (index_t t = 0; t < setup.tokens; ++t) {
            const index_t first = draws.below(setup.experts);
            const index_t step = setup.experts % 2 == 0 ? 1 : 1 + t % 2;
            for (index_t j = 0; j < setup.top_k; ++j) {
                const bool one = setup.chosen == Chosen::one_expert;
                // Near a first expert: distinct, and several of them on one rank.
                const index_t chosen = one ? setup.experts - 1 : (first + j * step) % setup.experts;
                expert.push_back(static_cast<std::int32_t>(chosen));
                weight.push_back(0.125F * static_cast<float>(1 + draws.below(8)));
                kept.push_back(
                    setup.chosen == Chosen::all_dropped || draws.below(5) == 0 || (one && j > 0) ? 0 : 1);
            }
            // A dropped choice may name anything.
            if (kept.back() == 0) expert.back() = -7;
            for (index_t i = 0; i < setup.hidden; ++i)
                x.push_back(0.25F * static_cast<float>(draws.below(33) - 16));
        }
    }

    static constexpr index_t kSeqLen = 5;

    comm::Choices choices(Range tokens) const {
        const index_t begin = tokens.begin * setup.top_k;
        return {MatrixView<const std::int32_t>(expert.data() + begin, tokens.size(), setup.top_k),
                MatrixView<const float>(weight.data() + begin, tokens.size(), setup.top_k),
                MatrixView<const std::uint8_t>(kept.data() + begin, tokens.size(), setup.top_k), tokens.begin,
                kSeqLen};
    }

    Range tokens_of(int rank, int num_ranks) const {
        switch (setup.tokens_on) {
            case TokensOn::first_rank:
                return rank == 0 ? Range{0, setup.tokens} : Range{setup.tokens, setup.tokens};
            case TokensOn::odd_ranks: {
                const index_t parts = std::max(1, num_ranks / 2);
                if (num_ranks > 1 && rank % 2 == 0) {
                    const index_t border =
                        rank / 2 < parts ? part_of(setup.tokens, parts, rank / 2).begin : setup.tokens;
                    return {border, border};
                }
                return part_of(setup.tokens, parts, rank / 2);
            }
            case TokensOn::all_ranks:
                break;
        }
        return part_of(setup.tokens, num_ranks, rank);
    }

    comm::Placement placement(int num_ranks) const {
        if (setup.experts_on == ExpertsOn::blocks) return comm::block_placement(setup.experts, num_ranks);
        PerExpert<int> rank_of_expert;
        std::vector<comm::Shadow> shadows;
        for (index_t e = 0; e < setup.experts; ++e) {
            // One to three copies, as far as there are ranks.
            for (int copy = 1; setup.experts_on == ExpertsOn::copied && copy <= e % 3 && copy < num_ranks;
                 ++copy)
                shadows.push_back({e, static_cast<int>((e * 3 + 1 + copy) % num_ranks)});
            rank_of_expert.push_back(setup.experts_on == ExpertsOn::last_rank
                                         ? num_ranks - 1
                                         : static_cast<int>((e * 3 + 1) % num_ranks));
        }
        return comm::Placement(rank_of_expert, num_ranks, shadows);
    }

    /// Expert e is the affine function v -> (e + 1) v + e: not linear, so that a row computed twice shows.
    static float apply(index_t e, float v) { return static_cast<float>(e + 1) * v + static_cast<float>(e); }

    /// y[t, i] by the definition of a mixture of experts.
    float expected(index_t t, index_t i) const {
        float sum = 0.0F;
        for (index_t j = 0; j < setup.top_k; ++j) {
            const std::size_t choice = at(t * setup.top_k + j);
            if (kept[choice] != 0) sum += weight[choice] * apply(expert[choice], x[at(t * setup.hidden + i)]);
        }
        return sum;
    }
};

}  // namespace sy::test
