#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/exchange/exchange.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/router/strategy.hpp"
#include "model/pass.hpp"

/// Routing and token exchange by themselves, for programs that have logits and experts of their own.
/// T tokens on this rank, E experts, K choices a token, H width of a row, L experts on this rank, S slots of these: the
/// kept choices of all ranks that fell on them.
namespace sy::model {

/// The same on all ranks.
struct RoutedExchangeConfig {
    MoeConfig moe;           ///< of which expert_width and layers are not read
    index_t seq_len = 1;     ///< tokens of a sequence; every rank holds whole sequences
    std::uint64_t seed = 0;  ///< of noise
    index_t layer_idx = 0;   ///< layers with different numbers draw independent noise
    comm::ExchangeKind exchange = comm::ExchangeKind::flat;
};

/// Where the tokens of a batch go.
struct RoutedTokens {
    Tensor expert;                   ///< [T, K] i32 choices, best first; kNoExpert where a token has fewer
    Tensor weight;                   ///< [T, K] f32 combine weights, whether kept or not
    std::vector<std::uint8_t> kept;  ///< [T, K] 1 where the choice got a slot
    std::vector<index_t> load;       ///< [E] choices over all ranks, before drops
    index_t num_dropped = 0;         ///< over all ranks
    std::vector<NamedLoss> losses;   ///< over the global batch, those whose coefficients are not zero
    comm::DispatchPlan plan;
};

/// The rows that this rank's experts work on.
struct DispatchedRows {
    Tensor rows;                          ///< [S, H] f32, grouped by expert
    std::vector<index_t> experts;         ///< [L] global numbers
    std::vector<index_t> expert_offsets;  ///< [L + 1] experts[l] has rows expert_offsets[l] up to [l + 1]
};

/// Router, capacity and exchange around experts that the caller computes:
///
///     RoutedTokens routed = exchange.route(logits, Use::train);
///     DispatchedRows arrived = exchange.dispatch(x, routed);
///     ...                                     // outputs[s] = expert(arrived.rows[s]) for every slot s
///     exchange.combine(outputs, routed, y);   // y[t] = sum over kept choices of weight * output
///
/// Tokens are numbered over the ranks in ascending order, and every rule is a function of the global batch: the same
/// logits are routed alike on any number of ranks. There is no backward pass here; a MoeLayer has one.
class RoutedExchange {
  public:
    /// Expert e is on a rank as block_placement says; the ranks of `world` hold all experts together.
    /// @param world, context  borrowed; `world` carries nothing else while a function of this class runs
    /// @throws ConfigError with everything that is wrong, also with what needs more than logits: moe.router = hash or
    ///         reinforce, moe.jitter, learned noise, a router in bf16, shared experts, expert dropout
    RoutedExchange(RoutedExchangeConfig config, comm::Communicator& world, const Context& context);

    const comm::Placement& placement() const { return placement_; }

    /// Decides where this batch goes.
    /// @param logits  [T, E] finite; ranks may have different T. To close an expert to a token, use a large negative
    ///                number: NaN and infinity are refused, because a loss or a global rule would carry them to all tokens
    /// @param use     only training draws noise; evaluation may have a capacity of its own, generation has none
    /// @param step    noise differs from step to step
    /// @throws ShapeError on every rank with what is wrong on any of them
    /// @par Collective over the world
    RoutedTokens route(MatrixView<const float> logits, Use use, index_t step = 0);

    /// Sends every token once to each rank that has a kept choice of it.
    /// @param x  [T, H], H the same on all ranks
    /// @throws ShapeError on every rank with what is wrong on any of them
    /// @par Collective over the world; returns when the rows have arrived
    DispatchedRows dispatch(MatrixView<const float> x, const RoutedTokens& routed);

    /// y[t] = the sum of weight * output over the kept choices of token t; 0 where it has none. With
    /// context.numerics = reproducible it is added choice by choice, the same to the bit on any number of ranks.
    /// @param outputs  [S, H] of the rows that dispatch returned, in their order, without weights
    /// @param y        [T, H] is overwritten
    /// @throws ShapeError on every rank with what is wrong on any of them
    /// @par Collective over the world; returns when y is complete
    void combine(MatrixView<const float> outputs, const RoutedTokens& routed, MatrixView<float> y);

    /// After an optimizer step: moves the selection bias (balance.bias_rate), if there is one.
    /// @param load  [E] choices of the step over all ranks
    void finish_step(std::span<const index_t> load) { strategy_->finish_step(load); }
    /// What the router carries from step to step, [E] or empty: to be saved with the experts and written back.
    std::span<double> state() { return strategy_->state(); }

  private:
    RoutedExchangeConfig config_;
    comm::Communicator& world_;
    const Context& context_;
    std::unique_ptr<RoutingStrategy> strategy_;
    std::vector<std::unique_ptr<RouterLoss>> losses_;
    comm::Placement placement_;
    std::unique_ptr<comm::Exchange> exchange_;
};

}  // namespace sy::model
