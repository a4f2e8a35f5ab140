#pragma once

#include <vector>

#include "comm/communicator.hpp"
#include "comm/exchange/receive_plan.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// [S] Where the output of each slot lies in the stream of expert dropout: row token * E + expert, of the global token.
/// So the mask is the same wherever an expert lives, and the backward pass can draw it again.
/// @param local_experts  global numbers of the experts on this rank, in local order
/// @par Collective over `expert_group`, the ranks that `receive` counts its sources in
/// @par Source  "expert dropout" in fine-tuning: Fedus et al., Switch Transformers, arXiv:2101.03961, sec. 2.4
std::vector<index_t> expert_dropout_rows(const comm::ReceivePlan& receive, const PassInfo& pass,
                                         IndexedSpan<comm::LocalExpertAxis, const index_t> local_experts,
                                         index_t num_experts, comm::Communicator& expert_group);

}  // namespace sy::model
