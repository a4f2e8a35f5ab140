#pragma once

#include <cstdint>
#include <string>

#include "comm/exchange/send_plan.hpp"
#include "kernels/core/host_view.hpp"

/// Which experts the tokens of a rank choose. T tokens, K choices of a token, E experts.
namespace sy::runtime::sim {

struct RoutingShape {
    index_t tokens = 0;  ///< of a rank
    index_t top_k = 0;
    index_t experts = 0;
};

/// The choices of a rank's tokens, all kept, with weights that add up to one.
class RankRouting {
  public:
    RankRouting(index_t tokens, index_t top_k);

    index_t tokens() const { return tokens_; }
    index_t top_k() const { return top_k_; }
    std::int32_t& expert(index_t token, index_t choice) { return expert_[token * top_k_ + choice]; }
    std::int32_t expert(index_t token, index_t choice) const { return expert_[token * top_k_ + choice]; }
    /// @param weights, kept  [T * K] of a recorded routing
    void set_weights(std::span<const float> weights, std::span<const std::uint8_t> kept);
    /// Borrowed from this.
    comm::Choices choices() const;

  private:
    index_t tokens_;
    index_t top_k_;
    Indexed<comm::ChoiceAxis, std::int32_t> expert_;
    Indexed<comm::ChoiceAxis, float> weight_;
    Indexed<comm::ChoiceAxis, std::uint8_t> kept_;
};

/// How tokens choose:
///   balanced  every expert is chosen equally often, in an order that is shuffled anew for every E / K tokens
///   hot.PCT   PCT percent of the tokens have expert 0 among their choices, beside those that draw it; the other choices
///             are drawn uniformly
///   decode    drawn uniformly; it stands for a few tokens a rank, as in generation
/// @par Source  the names of oneDNN's benchdnn
struct RoutingProfile {
    enum class Kind { balanced, hot, decode };
    Kind kind = Kind::balanced;
    int hot_percent = 0;
};

/// @throws ConfigError naming the profiles there are
RoutingProfile parse_profile(const std::string& text);
std::string to_string(const RoutingProfile& profile);

/// A pure function: the tokens of all ranks together are the same for every order in which ranks ask.
RankRouting make_routing(const RoutingProfile& profile, const RoutingShape& shape, int rank);

}  // namespace sy::runtime::sim
