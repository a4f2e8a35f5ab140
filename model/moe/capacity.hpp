#pragma once

#include <cstdint>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"
#include "model/moe/drop_ledger.hpp"
#include "model/pass.hpp"

/// Which choices get a slot. T tokens on this rank, K choices a token, E experts, G groups of experts.
namespace sy::model {

struct Routing;

/// What the rules look at.
struct CapacityInput {
    ConstTensorRef expert;  ///< [T, K] i32, this rank's choices; kNoExpert is never counted nor kept
    ConstTensorRef score;   ///< [T, K] f32, of the choices; unread unless needs_scores
    const PassInfo& pass;
};

/// Who keeps a slot, and the global counts behind it.
struct CapacityResult {
    std::vector<std::uint8_t> kept;  ///< [T, K]
    std::vector<DropReason> reason;  ///< [T, K]; empty when nothing can be dropped in this pass
    std::vector<index_t> load;       ///< [E] choices over all ranks, before drops
    index_t capacity = 0;            ///< slots of an expert (of this rank's tokens, if local); 0: no limit
    index_t num_dropped = 0;         ///< over all ranks
};

/// Whether apply_capacity looks at scores in such a pass.
bool needs_scores(const MoeConfig& config, Use use);

/// An expert has C = max(min_capacity, ceil(capacity_factor * moe.top_k * T_global / E)) slots, or any number when the
/// factor is 0 or in generation; evaluation may have a factor of its own. Factors are decimals
/// (kernels/core/decimal.hpp). `moe.drop_by` says who gets the slots:
///   position        all first choices in global token order, then all second choices, ... (GShard); those beyond
///                   moe.top_k, which expert choice may have, together with the last
///   score           the C highest scores; equal ones: the lower global token, then the lower choice
///   batch_priority  as position, with tokens by descending highest score of their choices; equal ones: the lower token
/// A function of the global batch alone; with `moe.capacity_scope` = local (GShard's groups) of each rank's tokens.
/// In training with `moe.device_capacity`, a group of experts then keeps at most ceil(device_capacity * choices / G):
/// the lowest scores are dropped first, those of protected sequences never.
/// @par Collective over `world`
/// @par Source  Lepikhin et al., GShard, arXiv:2006.16668; Riquelme et al., V-MoE, arXiv:2106.05974, sec. 4;
///              Zoph et al., ST-MoE, arXiv:2202.08906 (factors of evaluation); DeepSeek-V2, arXiv:2405.04434,
///              sec. 2.1.4
CapacityResult apply_capacity(const CapacityInput& in, const MoeConfig& config, comm::Communicator& world);

/// A router's decision where the host can look at it: the one read of a layer, for capacity, the plan and records.
class ReadChoices {
  public:
    /// @param sums  more of the same layer that the host reads: sums of losses; null: none
    /// @par Waits  as HostValues
    ReadChoices(const Routing& routing, const PassInfo& pass, const MoeConfig& config, ConstTensorRef sums,
                const Context& context);

    ConstTensorRef expert() const { return values_[0]; }  ///< [T, K] i32
    ConstTensorRef weight() const { return values_[1]; }  ///< [T, K] f32
    /// [T, K] f32 for apply_capacity: the scores of the choices, or their weights where the router has no scores; null
    /// unless needs_scores.
    ConstTensorRef score() const { return values_[2]; }
    ConstTensorRef sums() const { return values_[3]; }

    /// What an exchange moves of them. @param kept  [T, K], borrowed
    comm::Choices exchanged(const std::vector<std::uint8_t>& kept, const PassInfo& pass) const;

  private:
    Tensor chosen_score_;
    HostValues values_;
};

/// How experts' rows return: in `reproducible` each choice by itself, so that sums do not depend on the layout.
comm::ReturnRows return_rows(const Context& context);

/// Whether a device budget never drops a choice of this sequence, counted over the global
/// batch of a micro-step. The answer is the same in every layer.
bool is_protected(const PassInfo& pass, index_t sequence, double fraction);

namespace detail {
/// The device budgets, on top of what `result` has dropped. @par Collective over `world`
void apply_device_budget(const CapacityInput& in, const MoeConfig& config, comm::Communicator& world,
                         CapacityResult& result);
}  // namespace detail

}  // namespace sy::model
