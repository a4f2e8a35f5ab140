#pragma once

#include "comm/exchange/send_plan.hpp"
#include "model/moe/routing_log.hpp"
#include "runtime/bench/exchange_shapes.hpp"

namespace sy::runtime::bench {

/// The experts of this rank's tokens.
class BenchRouting {
  public:
    /// Random different experts for every token, with equal weights that add up to one.
    BenchRouting(const ExchangeShape& shape, int rank);
    /// What a run has recorded.
    explicit BenchRouting(const model::RoutingRecord& recorded);

    index_t num_tokens() const { return num_tokens_; }
    comm::Choices choices() const;
    /// The part of a token's row that comes back from experts that only multiply it by its weights.
    double kept_weight(index_t token) const;

  private:
    Indexed<comm::ChoiceAxis, std::int32_t> expert_;
    Indexed<comm::ChoiceAxis, float> weight_;
    Indexed<comm::ChoiceAxis, std::uint8_t> kept_;
    index_t num_tokens_;
    index_t top_k_;
};

}  // namespace sy::runtime::bench
