#include "runtime/sim/routing.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <vector>

#include "kernels/core/philox.hpp"

namespace sy::runtime::sim {
namespace {

constexpr std::uint64_t kSeed = 11;

index_t drawn(std::uint32_t word, index_t count) {
    return static_cast<index_t>((static_cast<std::uint64_t>(word) * static_cast<std::uint64_t>(count)) >> 32);
}

/// All experts in random order, by Fisher and Yates.
std::vector<std::int32_t> shuffled(index_t experts, std::uint64_t round) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i) {
        const std::uint32_t word = philox({kSeed, round, 0, RandomPurpose::test}, i)[0];
        std::swap(order[i - 1], order[static_cast<std::size_t>(drawn(word, static_cast<index_t>(i)))]);
    }
    return order;
}

void choose_in_turn(RankRouting& routing, const RoutingShape& shape, int rank) {
    const index_t tokens_a_round = shape.experts / shape.top_k;
    std::vector<std::int32_t> order;
    index_t round_of_order = -1;
    for (index_t t = 0; t < shape.tokens; ++t) {
        const index_t token = rank * shape.tokens + t;
        const index_t round = token / tokens_a_round;
        if (round != round_of_order) {
            order = shuffled(shape.experts, static_cast<std::uint64_t>(round));
            round_of_order = round;
        }
        for (index_t j = 0; j < shape.top_k; ++j)
            routing.expert(t, j) =
                order[static_cast<std::size_t>((token % tokens_a_round) * shape.top_k + j)];
    }
}

/// Different experts, drawn one after another; the first is expert 0 for the share of the tokens that is hot.
void choose_by_chance(RankRouting& routing, const RoutingShape& shape, int rank, int hot_percent) {
    for (index_t t = 0; t < shape.tokens; ++t) {
        const auto token = static_cast<std::uint64_t>(rank * shape.tokens + t);
        const bool is_hot = drawn(philox({kSeed, token, 1, RandomPurpose::test}, 0)[0], 100) < hot_percent;
        index_t num_chosen = 0;
        if (is_hot) routing.expert(t, num_chosen++) = 0;
        for (std::uint64_t attempt = 1; num_chosen < shape.top_k; ++attempt) {
            const auto expert = static_cast<std::int32_t>(
                drawn(philox({kSeed, token, 1, RandomPurpose::test}, attempt)[0], shape.experts));
            bool is_new = true;
            for (index_t j = 0; j < num_chosen; ++j) is_new = is_new && routing.expert(t, j) != expert;
            if (is_new) routing.expert(t, num_chosen++) = expert;
        }
    }
}

}  // namespace

RankRouting::RankRouting(index_t tokens, index_t top_k)
    : tokens_(tokens),
      top_k_(top_k),
      expert_(tokens * top_k),
      weight_(tokens * top_k, 1.0F / static_cast<float>(top_k)),
      kept_(tokens * top_k, 1) {}

void RankRouting::set_weights(std::span<const float> weights, std::span<const std::uint8_t> kept) {
    SY_REQUIRE(static_cast<index_t>(weights.size()) == weight_.size() && weights.size() == kept.size(),
               "routing: ", weights.size(), " weights and ", kept.size(), " marks for ", weight_.size(),
               " choices");
    std::ranges::copy(weights, weight_.begin());
    std::ranges::copy(kept, kept_.begin());
}

comm::Choices RankRouting::choices() const {
    return {MatrixView<const std::int32_t>(expert_.data(), tokens_, top_k_),
            MatrixView<const float>(weight_.data(), tokens_, top_k_),
            MatrixView<const std::uint8_t>(kept_.data(), tokens_, top_k_)};
}

RoutingProfile parse_profile(const std::string& text) {
    if (text == "balanced") return {};
    if (text == "decode") return {RoutingProfile::Kind::decode, 0};
    RoutingProfile hot{RoutingProfile::Kind::hot, 0};
    constexpr std::string_view kHot = "hot.";
    if (text.starts_with(kHot)) {
        const char* const end = text.data() + text.size();
        if (std::from_chars(text.data() + kHot.size(), end, hot.hot_percent).ptr == end &&
            hot.hot_percent >= 0 && hot.hot_percent <= 100)
            return hot;
    }
    throw ConfigError(
        concat("'", text, "' is no routing profile; there are balanced, hot.0 to hot.100, and decode"));
}

std::string to_string(const RoutingProfile& profile) {
    switch (profile.kind) {
        case RoutingProfile::Kind::balanced:
            return "balanced";
        case RoutingProfile::Kind::hot:
            return concat("hot.", profile.hot_percent);
        case RoutingProfile::Kind::decode:
            return "decode";
    }
    SY_REQUIRE(false, "no such routing profile");
    return {};
}

RankRouting make_routing(const RoutingProfile& profile, const RoutingShape& shape, int rank) {
    SY_REQUIRE(shape.top_k >= 1 && shape.top_k <= shape.experts, "routing: ", shape.top_k, " choices of ",
               shape.experts, " experts");
    RankRouting routing(shape.tokens, shape.top_k);
    if (profile.kind == RoutingProfile::Kind::balanced)
        choose_in_turn(routing, shape, rank);
    else
        choose_by_chance(routing, shape, rank, profile.hot_percent);
    return routing;
}

}  // namespace sy::runtime::sim
